"""Servers that stand in for the outside world, with the real rules.

`oai_repository` (what a repository is) -> `oai_records` (its records) -> `oai_holdings` (which there are, since when) ->
`oai_arguments`, `oai_tokens`, `oai_envelope`, `oai_cache`, `oai_protocol` (its answers, without I/O) -> `oai_faults`,
`oai_alterations`, `oai_replies` (how they go wrong) -> `oai_statistics` (what was seen) -> `oai_site` (all repositories together) ->
`oai_http` (sockets) -> `oai_consortium` (in a thread of this process) and `oai_remote` (in another process); `oai` is the door to all
of it, and the command.
"""
