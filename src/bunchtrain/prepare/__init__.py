"""Splits, scaler and class weights; one index joins the shards."""

#: Raise it when results of this stage change: the stage and all below it run again.
VERSION = 3
