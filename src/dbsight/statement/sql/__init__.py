"""Reading SQL: ``reader`` makes a Statement, with everything else here behind it."""
