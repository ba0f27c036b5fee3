"""When objectives page: two rules over a year of synthetic traffic with injected incidents."""
