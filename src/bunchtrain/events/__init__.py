"""The HDF5 event contract: layout, writer, reader, splits, features and scaling."""
