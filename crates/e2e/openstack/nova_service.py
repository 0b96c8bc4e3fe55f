"""Nova's API with a database of its own, and no cloud behind it.

    nova_service.py prepare             makes its databases in the current directory
    nova_service.py serve PORT KEYSTONE serves the API by a nova.conf that it writes there, and does
                                        what stdin asks: a JSON object a line, and so the answers
"""

import json
import os
import sys
import sysconfig

import wsgi

DATABASES = """\
[DEFAULT]
transport_url = fake://
host = compute1
log_file = nova.log
[database]
connection = sqlite:///nova.db
[api_database]
connection = sqlite:///nova_api.db
"""

# What a nova.conf of a controller has besides, as far as a console proxy may meet it.
CONTROLLER = """\
[api]
auth_strategy = keystone
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = nova
password = nova
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
[serial_console]
enabled = true
base_url = ws://127.0.0.1:6083/
[oslo_concurrency]
lock_path = /var/lib/nova/tmp
"""


def prepare():
    write(DATABASES)
    from nova import config
    from nova import objects
    from nova.cmd import manage

    config.parse_args(sys.argv, default_config_files=["nova.conf"])
    objects.register_all()
    cells = manage.CellV2Commands()
    done = [
        manage.ApiDbCommands().sync(),
        cells.map_cell0(database_connection="sqlite:///nova_cell0.db"),
        cells.create_cell(name="cell1"),
        manage.DbCommands().sync(),
    ]
    assert not any(done), done


def write(config):
    with open("nova.conf", "w") as file:
        file.write(config)


def serve(port, keystone):
    write(DATABASES + CONTROLLER.format(keystone=keystone))
    paste = os.path.join(sysconfig.get_path("data"), "etc", "nova", "api-paste.ini")
    os.environ["OS_NOVA_CONFIG_DIR"] = os.getcwd()
    os.environ["OS_NOVA_CONFIG_FILES"] = ";".join([paste, "nova.conf"])
    from nova.wsgi import osapi_compute
    from nova.network import security_group_api

    # There is no Neutron to ask.
    security_group_api.get_instances_security_groups_bindings = lambda *asked, **how: {}
    wsgi.serve(osapi_compute.application, port)
    rows = Rows()
    wsgi.ready()
    for line in sys.stdin:
        wish = json.loads(line)
        answer = getattr(rows, wish.pop("do"))(**wish)
        print(json.dumps(answer), flush=True)
    wsgi.end()


class Rows:
    """What Nova's compute service would have written, by Nova's own objects."""

    def __init__(self):
        from nova import context
        from nova import objects
        from nova.network import model

        self.objects = objects
        self.no_network = model.NetworkInfo()
        self.context = context.get_admin_context()
        cells = objects.CellMappingList.get_all(self.context)
        self.cell = next(cell for cell in cells if not cell.is_cell0())
        context.set_target_cell(self.context, self.cell)

    def instance(self, name, project, user):
        flavor = self.objects.Flavor(
            id=1, name="tiny", flavorid="1", memory_mb=64, vcpus=1, root_gb=1, ephemeral_gb=0,
            swap=0, rxtx_factor=1.0, is_public=True, disabled=False, extra_specs={},
        )
        instance = self.objects.Instance(
            self.context, display_name=name, hostname=name, project_id=project, user_id=user,
            host="compute1", node="compute1", compute_id=1, vm_state="building", power_state=0,
            flavor=flavor, image_ref="", system_metadata={},
            info_cache=self.objects.InstanceInfoCache(network_info=self.no_network),
        )
        instance.create()
        self.objects.InstanceMapping(
            self.context, instance_uuid=instance.uuid, cell_mapping=self.cell, project_id=project,
            user_id=user, queued_for_delete=False,
        ).create()
        # A server that never changed is shown as changed at the moment of asking.
        instance.vm_state = "active"
        instance.power_state = 1
        instance.save()
        return instance.uuid

    def state(self, server, vm_state, task_state):
        instance = self.objects.Instance.get_by_uuid(self.context, server)
        instance.vm_state = vm_state
        instance.task_state = task_state
        instance.save()

    def delete(self, server):
        self.objects.Instance.get_by_uuid(self.context, server).destroy()

    def authorize(self, server, host, port, ttl, path, base, kind):
        return self.objects.ConsoleAuthToken(
            self.context, console_type=kind, host=host, port=port, internal_access_path=path,
            instance_uuid=server, access_url_base=base,
        ).authorize(ttl)


command, *arguments = sys.argv[1:]
# What is left there OpenStack reads too.
del sys.argv[1:]
if command == "prepare":
    prepare()
else:
    serve(int(arguments[0]), arguments[1])
