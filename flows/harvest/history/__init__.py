"""What the ledger says of past passes, for those who want to look ahead.

``store``    pages, records and milliseconds of the last complete pass of every source
"""
