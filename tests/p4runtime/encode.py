"""Prints the bytes of a P4Info whose text is in the file named: encode.py FILE."""

import pathlib
import sys

from google.protobuf import text_format
from p4.config.v1 import p4info_pb2

text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
info = text_format.Parse(text, p4info_pb2.P4Info())
sys.stdout.buffer.write(info.SerializeToString(deterministic=True))
