"""Reads nova.conf files as nova-serialproxy does, by Nova's own options and oslo.config.

    nova_conf.py FILE...    prints a line of JSON for each file: what Nova's proxy takes from it, or its error
    nova_conf.py states     prints the names of Nova's states and tasks of servers
    nova_conf.py login FILE…
                            prints a line of JSON for each file: what keystoneauth sends to log in as the
                            service user of its group [service_user], which Nova has it load, or its error
"""

import json
import sys

from keystoneauth1 import loading
from nova.conf import console, consoleauth, netconf, novnc, paths, serial_console
from nova.objects import fields
from oslo_config import cfg
from oslo_log import log


def main():
    if sys.argv[1:] == ["states"]:
        print(json.dumps([fields.InstanceState.ALL, fields.InstanceTaskState.ALL]))
        return
    files, of = (sys.argv[2:], login) if sys.argv[1] == "login" else (sys.argv[1:], read)
    for file in files:
        try:
            answer = of(file)
        except (Exception, SystemExit) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer))


def read(file):
    """What `nova.cmd.serialproxy` and `nova.console.websocketproxy` read, in their order."""
    conf = cfg.ConfigOpts()
    for module in (console, consoleauth, netconf, novnc, paths, serial_console):
        module.register_opts(conf)
    serial_console.register_cli_opts(conf)
    novnc.register_cli_opts(conf)
    log.register_options(conf)
    conf.set_default("web", None)
    conf(args=[], project="nova", default_config_files=[file], default_config_dirs=[])
    return {
        "serialproxy_host": conf.serial_console.serialproxy_host,
        "serialproxy_port": conf.serial_console.serialproxy_port,
        "cert": conf.cert,
        "key": conf.key,
        "web": conf.web,
        "record": conf.record,
        "ssl_only": conf.ssl_only,
        "daemon": conf.daemon,
        "source_is_ipv6": conf.source_is_ipv6,
        "debug": conf.debug,
        "ssl_minimum_version": conf.console.ssl_minimum_version,
        "allowed_origins": conf.console.allowed_origins,
        "enforce_session_timeout": conf.consoleauth.enforce_session_timeout,
    }


class Sent(Exception):
    """What a session was to send."""


class Session:
    """Sends nothing."""

    def post(self, url, json, **_):
        raise Sent(json)


def login(file):
    conf = cfg.ConfigOpts()
    loading.register_auth_conf_options(conf, "service_user")
    conf(args=[], project="nova", default_config_files=[file], default_config_dirs=[])
    # Registers what stands in the group that auth_section names, as keystonemiddleware does.
    loading.register_auth_conf_options(conf, "service_user")
    plugin = loading.load_auth_from_conf_options(conf, "service_user")
    session = Session()
    if hasattr(plugin, "create_plugin"):
        # One for any version, which it asks Keystone for.
        plugin = plugin.create_plugin(session, (3, 0), plugin.auth_url)
    try:
        plugin.get_auth_ref(session)
    except Sent as sent:
        return sent.args[0]


main()
