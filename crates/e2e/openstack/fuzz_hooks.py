"""Leads every other request to a server that there is, and to its port: chance finds neither."""

import os
import zlib

import schemathesis

KNOWN = {"server": os.environ["SERIALPROXY_FUZZ_SERVER"], "port": 0}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    # By what was drawn, so that the same seed makes the same requests.
    if path_parameters and zlib.crc32(repr(path_parameters).encode()) % 2:
        known = {name: value for name, value in KNOWN.items() if name in path_parameters}
        return {**path_parameters, **known}
    return path_parameters
