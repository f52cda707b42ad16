"""Where results came from: the way up and down, PROV-JSON, archives of campaigns, and what two campaigns differ in."""
