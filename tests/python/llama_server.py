"""llama.cpp's server in this process, on a free port; ends with its standard input. Takes llama-server's own flags as far as
the test gives them, and prints the same line when it listens."""

import argparse
import sys

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("-m", dest="model", required=True)
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("-c", dest="context", type=int, required=True)
parser.add_argument("-t", dest="threads", type=int, required=True)
parser.add_argument("-np", dest="parallel", type=int, required=True)
parser.add_argument("--jinja", action="store_true")
arguments = parser.parse_args()

parameters = xllamacpp.CommonParams()
parameters.model.path = arguments.model
parameters.hostnames = [arguments.host]
parameters.port = arguments.port
parameters.n_ctx = arguments.context
parameters.cpuparams.n_threads = arguments.threads
parameters.n_parallel = arguments.parallel
parameters.use_jinja = arguments.jinja
server = xllamacpp.Server(parameters)
print(f"listening on {server.listening_address}", file=sys.stderr, flush=True)
sys.stdin.read()
