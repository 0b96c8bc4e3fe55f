"""Keystone with users that the tests know.

    keystone_service.py prepare               makes its database in the current directory
    keystone_service.py serve PORT TYPE=URL…  serves it, with these endpoints in its catalog
"""

import os
import sqlite3
import sys
import uuid

import wsgi

CONFIG = """\
[DEFAULT]
log_file = keystone.log
[database]
connection = sqlite:///keystone.db
[fernet_tokens]
key_repository = fernet
[fernet_receipts]
key_repository = fernet
[credential]
key_repository = credential
[identity]
# The least, so that a login costs nothing.
password_hash_rounds = 4
[oslo_policy]
enforce_scope = true
"""

# Users, each with its role in a project; the password is the name.
USERS = [
    ("alice", "demo", "member"),
    ("bob", "demo", "member"),
    ("rita", "demo", "reader"),
    ("oscar", "other", "member"),
    ("adam", "demo", "admin"),
    ("nova", "service", "service"),
    ("nova", "service", "admin"),
    ("serialproxy", "service", "service"),
]


def known(name):
    """The id of a project or a user, the same in each database."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, name).hex


def prepare():
    from keystone.cmd import bootstrap
    from keystone.common import fernet_utils
    from keystone.common import provider_api
    from keystone.common import sql
    from keystone.common.sql import upgrades

    configure()
    upgrades.offline_sync_database_to_version()
    for repository in ("fernet", "credential"):
        os.mkdir(repository, 0o700)
        fernet_utils.FernetUtils(repository, 2, "fernet_tokens").initialize_key_repository()
    first = bootstrap.Bootstrapper()
    first.admin_password = "admin"
    first.admin_username = "admin"
    first.project_name = "admin"
    first.admin_role_name = "admin"
    first.service_name = "keystone"
    first.region_id = "RegionOne"
    first.immutable_roles = True
    first.bootstrap()
    fill(provider_api.ProviderAPIs)
    sql.cleanup()


def fill(providers):
    resource = providers.resource_api
    roles = {role["name"]: role["id"] for role in providers.role_api.list_roles()}
    for project in ("demo", "other", "service"):
        ref = {"id": known(project), "name": project, "domain_id": "default", "enabled": True}
        resource.create_project(ref["id"], ref)
    users = {}
    for name, project, role in USERS:
        if name not in users:
            ref = {"name": name, "password": name, "domain_id": "default", "enabled": True}
            users[name] = providers.identity_api.create_user(ref)["id"]
        providers.assignment_api.create_grant(
            roles[role], user_id=users[name], project_id=known(project)
        )
    for kind in ("identity", "compute"):
        catalog = providers.catalog_api
        if not any(made["type"] == kind for made in catalog.list_services()):
            ref = {"id": known(kind), "type": kind, "name": kind, "enabled": True}
            catalog.create_service(ref["id"], ref)
        made = next(made for made in catalog.list_services() if made["type"] == kind)
        for interface in ("public", "internal", "admin"):
            ref = {
                "id": known(f"{kind} {interface}"),
                "service_id": made["id"],
                "interface": interface,
                "region_id": "RegionOne",
                "url": f"http://{kind}.invalid",
                "enabled": True,
            }
            catalog.create_endpoint(ref["id"], ref)


def serve(port, endpoints):
    database = sqlite3.connect("keystone.db")
    for endpoint in endpoints:
        kind, url = endpoint.split("=", 1)
        database.execute(
            "UPDATE endpoint SET url = ? WHERE service_id IN (SELECT id FROM service WHERE type = ?)",
            (url, kind),
        )
    database.commit()
    database.close()
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = os.getcwd()
    from keystone.wsgi import api

    wsgi.serve(api.application, port)
    wsgi.ready()
    sys.stdin.read()
    wsgi.end()


def configure():
    from keystone.server import configure as set_up

    with open("keystone.conf", "w") as file:
        file.write(CONFIG)
    set_up(config_files=["keystone.conf"])


command, *arguments = sys.argv[1:]
# What is left there OpenStack reads too.
del sys.argv[1:]
if command == "prepare":
    prepare()
else:
    serve(int(arguments[0]), arguments[1:])
