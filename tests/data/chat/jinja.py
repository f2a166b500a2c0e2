#!/usr/bin/env python3
"""Writes the expected results of jinja.json anew, with the Jinja2 that is installed (3.1.6 made the stored ones).

A case is a template; it is rendered with "variables" as the Transformers library sets Jinja up: trim_blocks,
lstrip_blocks, loop controls, its own tojson, raise_exception and strftime_now. {"error": true}: it must fail.
"""
import datetime
import json
import pathlib

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = jinja2.sandbox.SandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = datetime.datetime(2026, 1, 15, 12).strftime

path = pathlib.Path(__file__).with_name("jinja.json")
table = json.loads(path.read_text(encoding="utf-8"))
given = {"tools": None, "documents": None, "add_generation_prompt": False, "bos_token": "<BOS>", "eos_token": "<EOS>"}
lines = []
for case in table["cases"]:
    # Some templates change their variables, so each gets its own.
    variables = {**given, **json.loads(json.dumps(table["variables"]))}
    out = {"template": case["template"]}
    try:
        out["text"] = environment.from_string(case["template"]).render(**variables)
    except Exception:  # noqa: BLE001: any failure is the expected result
        out["error"] = True
    lines.append(json.dumps(out))
path.write_text('{"variables": ' + json.dumps(table["variables"]) + ',\n"cases": [\n' + ",\n".join(lines) + "\n]}\n",
                encoding="utf-8")
