"""One transactional store of a screened folder: results, readers' verdicts and the log of these."""
