"""What may be otherwise than the simulation has it: a file for each kind of variation, named as in a campaign."""
