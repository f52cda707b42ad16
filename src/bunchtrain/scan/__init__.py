"""The hyperparameter scan: DeepHyper suggests, real trainings answer."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 3
