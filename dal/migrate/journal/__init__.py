"""What a revision has done, statement by statement, kept while it is half done."""
