"""bunchtrain: simulation samples in, trained and uncertainty-qualified networks out, FPGA IP cores at the end.

errors, files, progress, registry, provenance   what everything stands on
config      the campaign file, one section a module
events      the HDF5 event contract, and graphs of hits
models      networks (kinds)
tasks       what is learned (kinds)
parallel    processes (kinds)
simulate    Pythia 8 and FastJet into ROOT files; hits in a tracking detector; calorimeter showers; magnets
convert     ROOT files into HDF5
prepare     splits, scaler, class weights
scan        DeepHyper over real trainings
train       one training on one or more ranks
evaluate    accuracy, MC dropout, calibration
synth       quantised student, RTL, IP core
scaling     short trainings on a few ranks, and what they say of many
report      the HTML page
origin      where results came from: both ways, archives, what campaigns differ in
cli         the command line
"""
