"""How a training scales: short trainings on a few ranks, a model of their steps, a number of ranks to take."""

#: Raise it when probes must be measured anew.
VERSION = 1
