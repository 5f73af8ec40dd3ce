"""The public functions and classes that show the totals of this process; they count nothing themselves."""
