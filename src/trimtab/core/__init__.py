"""The words of the house: plain values, one flat file of errors, the clock. Stands on nothing."""
