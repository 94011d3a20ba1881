"""What a real systemd does with simward, tried from inside a machine of its own: probe.py FOLDER.

FOLDER holds two packages, `older.deb` and `later.deb`. scripts/test-systemd starts it, and reads what
it prints: `CHECK ok …` and `CHECK FAILED …` for each check, and at the end `CHECKS …` with how many
there were. What it does not print counts as failed.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

import client

URL = "http://127.0.0.1:7700/mcp"
CONFIG = pathlib.Path("/etc/simward/simward.toml")
TOKENS = "/etc/simward/tokens.toml"
FOLDER = pathlib.Path(sys.argv[1])
# A machine that is emulated takes its time.
PATIENCE = 120
# 80 MB of numbers that belong to one body.
LARGE = (
    "<mujoco><size nuser_body='10000000'/><worldbody><body name='b'><geom size='1'/></body>"
    "</worldbody></mujoco>"
)

checks = []


def check(function):
    """One of the checks, in the order of this file."""
    checks.append(function)
    return function


def run(*command):
    """What a command says; it has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def show(what, unit="simward.service"):
    return run("systemctl", "show", "--value", "-p", what, unit)


def wait_for(what, question):
    """Asks until the answer is yes."""
    end = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.2)


def is_active(unit="simward.service"):
    return show("ActiveState", unit) == "active"


def say(what):
    print(f"    {what}", flush=True)


class Kept:
    """What one check leaves to the next ones."""

    token = None
    session = None


def caller():
    return client.Client(URL, Kept.token)


def is_let_in(token):
    try:
        client.Client(URL, token).call("get_server_info")
    except client.Refused as refused:
        assert "401" in str(refused), refused
        return False
    return True


def call_tool(name, **arguments):
    return caller().call(name, session_id=Kept.session, **arguments)


def steps_total():
    return call_tool("get_loaded_models")["models"][0]["steps_total"]


@check
def the_package_installs_and_starts_nothing():
    run("dpkg", "-i", str(FOLDER / "older.deb"))
    assert not is_active() and not is_active("simward.socket")
    assert run("stat", "-c", "%a %U:%G", TOKENS) == "640 root:simward"


@check
def the_first_connection_starts_the_daemon():
    # An emulated processor may stand still for longer than the second after which a worker is replaced.
    config = CONFIG.read_text()
    assert config.count("hang_after_secs = 1.0") == 1
    CONFIG.write_text(config.replace("hang_after_secs = 1.0", "hang_after_secs = 10.0"))
    Kept.token = run("simward", "token", "add", "ann", "--file", TOKENS)
    run("systemctl", "enable", "--now", "simward.socket")
    assert is_active("simward.socket") and not is_active()
    begun = time.monotonic()
    assert is_let_in(Kept.token)
    say(f"the first answer came after {time.monotonic() - begun:.1f} s")
    assert is_active()


@check
def its_status_tells_where_it_serves_and_how_many_sessions_there_are():
    Kept.session = caller().call("create_session")["session_id"]
    call_tool("create_scene", scene="double_pendulum")
    call_tool("step_simulation", steps=100)
    wait_for("1 sessions", lambda: "1 sessions" in show("StatusText"))
    status = run("systemctl", "status", "--no-pager", "simward.service")
    assert f'Status: "serving at {URL}, 1 sessions"' in status, status
    assert "TriggeredBy" in status, status


@check
def it_runs_as_its_user_and_its_limits_are_control_groups():
    pid = show("MainPID")
    assert run("stat", "-c", "%U", f"/proc/{pid}") == "simward"
    about = call_tool("get_session_info")
    by = about["limits_enforced_by"]
    assert by["memory_bytes"] == "cgroup_v2" and by["threads"] == "cgroup_v2", by
    say("layers: " + " ".join(about["layers"]))
    for layer in ("no_files", "few_system_calls", "own_network", "empty_root", "no_capabilities"):
        assert layer in about["layers"], (layer, about["layers"])


@check
def the_doctor_finds_nothing_bad_in_the_service_s_own_surroundings():
    properties = [f"--property={name}={value}" for name, value in [("User", "simward"), ("Delegate", "yes")]]
    found = subprocess.run(
        ["systemd-run", "--quiet", "--wait", "--pipe", *properties, "simward", "doctor"]
        + ["--config", "/etc/simward/simward.toml", "--state-dir", "/var/lib/simward", "--json"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    for finding in json.loads(found.stdout):
        if finding["verdict"] != "good":
            say(f"{finding['verdict']} {finding['what']}: {finding['found']}")


@check
def a_reload_makes_tokens_known_and_forgotten():
    before = show("MainPID")
    token = run("simward", "token", "add", "bob", "--file", TOKENS)
    assert not is_let_in(token)
    run("systemctl", "reload", "simward.service")
    wait_for("the new token is good", lambda: is_let_in(token))
    run("simward", "token", "revoke", "bob", "--file", TOKENS)
    run("systemctl", "reload", "simward.service")
    wait_for("the token is revoked", lambda: not is_let_in(token))
    assert is_let_in(Kept.token) and show("MainPID") == before


@check
def a_worker_that_takes_too_much_memory_ends_alone():
    daemon, other = show("MainPID"), call_tool("get_session_info")["pid"]
    hog = caller().call("create_session", limits={"memory_bytes": 60_000_000})
    try:
        caller().call("load_model", session_id=hog["session_id"], model_xml=LARGE)
        raise AssertionError("the model was loaded")
    except client.Refused as refused:
        assert "it took more than it may" in str(refused), refused
        say(str(refused)[:160])
    assert show("MainPID") == daemon and is_active()
    assert call_tool("get_session_info")["pid"] == other
    call_tool("step_simulation", steps=10)
    caller().call("close_session", session_id=hog["session_id"])


def under_load(what, replace):
    """Steps sessions while somebody replaces the daemon, and some time before and after; nothing may
    be lost."""
    command = [sys.executable, client.__file__, URL, "--token", Kept.token, "load"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as loaded:
        assert loaded.stdout.readline().strip() == "loaded"
        time.sleep(2)
        replace()
        time.sleep(2)
        said, _ = loaded.communicate()
    assert loaded.returncode == 0, said
    say(f"{what}: {said.strip()}")
    total = json.loads(said.splitlines()[-1])
    assert total["acknowledged"] > 0, total
    for lost in ("lost", "invented", "refused", "sessions_lost"):
        assert total[lost] == 0, (lost, total)
    assert not total["trouble"], total


def again_and_again(times, replace):
    """Replaces the daemon so many times, each time once it is there again."""

    def go_on():
        for _ in range(times):
            before = show("MainPID")
            time.sleep(2)
            replace(int(before))
            wait_for("another daemon", lambda: is_active() and show("MainPID") not in ("0", before))
        # So that the next check may do the same.
        run("systemctl", "reset-failed", "simward.service")

    return go_on


@check
def restarts_under_load_lose_nothing():
    def replace(_):
        begun = time.monotonic()
        run("systemctl", "restart", "simward.service")
        say(f"the restart took {time.monotonic() - begun:.1f} s")

    under_load("restarts", again_and_again(3, replace))


@check
def a_daemon_that_is_killed_under_load_loses_nothing():
    under_load("SIGKILL", again_and_again(2, lambda pid: os.kill(pid, signal.SIGKILL)))


@check
def a_daemon_that_stands_still_is_replaced_and_its_sessions_come_back():
    before, steps = show("MainPID"), steps_total()
    restarts = int(show("NRestarts"))
    begun = time.monotonic()
    os.kill(int(before), signal.SIGSTOP)
    wait_for("another daemon", lambda: is_active() and show("MainPID") not in ("0", before))
    say(f"the watchdog took {time.monotonic() - begun:.1f} s")
    assert int(show("NRestarts")) == restarts + 1
    assert steps_total() == steps
    call_tool("step_simulation", steps=10)


@check
def an_upgrade_under_load_loses_nothing():
    def upgrade():
        run("systemctl", "reset-failed", "simward.service")
        before = show("MainPID")
        run("dpkg", "--force-confold", "-i", str(FOLDER / "later.deb"))
        assert show("MainPID") not in ("0", before)

    under_load("upgrade", upgrade)
    assert is_let_in(Kept.token)


@check
def the_audit_is_written_where_the_unit_lets_it():
    with configured('\npath = ""', '\npath = "/var/log/simward/audit.jsonl"'):
        call_tool("step_simulation", steps=10)
        run("systemctl", "stop", "simward.service")
        lines = pathlib.Path("/var/log/simward/audit.jsonl").read_text().splitlines()
        called = [line for line in map(json.loads, lines) if line["event"] == "call"]
        assert [(line["caller"], line["tool"]) for line in called] == [("ann", "step_simulation")], lines


@contextlib.contextmanager
def configured(line, instead):
    """With another line in the configuration."""
    before = CONFIG.read_text()
    assert before.count(line) == 1, f"{line} is there {before.count(line)} times"
    CONFIG.write_text(before.replace(line, instead))
    run("systemctl", "reset-failed", "simward.service")
    try:
        run("systemctl", "restart", "simward.service")
        yield
    finally:
        CONFIG.write_text(before)
        run("systemctl", "reset-failed", "simward.service")
        run("systemctl", "restart", "simward.service")


@check
def an_operator_sees_the_pool_and_keeps_a_copy_of_the_sessions():
    call_tool("step_simulation", steps=10)
    assert "sessions created" in run("simward", "pool", "stats", "--state-dir", "/var/lib/simward")
    steps = steps_total()
    run("systemctl", "stop", "simward.socket", "simward.service")
    run("cp", "-a", "/var/lib/simward/store", "/root/copy")
    run("systemctl", "start", "simward.socket")
    call_tool("step_simulation", steps=10)
    run("systemctl", "stop", "simward.socket", "simward.service")
    shutil.rmtree("/var/lib/simward/store")
    run("cp", "-a", "/root/copy", "/var/lib/simward/store")
    run("systemctl", "start", "simward.socket")
    assert steps_total() == steps


@check
def a_daemon_that_cannot_start_is_given_up_until_an_operator_mends_it():
    before = CONFIG.read_text()
    CONFIG.write_text("nonsense = 1\n" + before)
    subprocess.run(["systemctl", "restart", "simward.service"], capture_output=True)
    wait_for("it is given up", lambda: show("ActiveState", "simward.service") == "failed")
    log = run(*"journalctl -u simward.service -n 20 -o cat --no-pager".split())
    assert "nonsense" in log, log
    CONFIG.write_text(before)
    # Somebody who calls now is what ends the socket, too.
    assert not is_accepting()
    wait_for("the socket is given up, too", lambda: show("ActiveState", "simward.socket") == "failed")
    run("systemctl", "reset-failed", "simward.service", "simward.socket")
    run("systemctl", "start", "simward.socket")
    call_tool("step_simulation", steps=10)


def is_accepting():
    """Whether somebody who calls is answered."""
    try:
        return is_let_in(Kept.token)
    except OSError:
        return False


@check
def with_privileges_every_worker_has_a_user_of_its_own():
    folder = pathlib.Path("/etc/systemd/system/simward.service.d")
    folder.mkdir()
    shutil.copy("/usr/share/doc/simward/examples/privileged.conf", folder)
    try:
        restart_with_other_unit()
        about = call_tool("get_session_info")
        say("layers: " + " ".join(about["layers"]))
        for layer in ("own_user", "thread_limit", "not_dumpable", "own_network", "empty_root"):
            assert layer in about["layers"], (layer, about["layers"])
        other = caller().call("create_session")
        users = {run("stat", "-c", "%u", f"/proc/{each['pid']}") for each in (about, other)}
        assert len(users) == 2 and "0" not in users, users
        assert about["limits_enforced_by"]["memory_bytes"] == "cgroup_v2", about
        assert client.Client(URL, Kept.token).call("close_session", session_id=other["session_id"])
    finally:
        shutil.rmtree(folder)
        restart_with_other_unit()


def restart_with_other_unit():
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "simward.service")
    # It sleeps until somebody calls.
    call_tool("step_simulation", steps=10)


@check
def removing_the_package_ends_it_and_purging_leaves_nothing():
    pid = show("MainPID")
    run("dpkg", "-r", "simward")
    assert not pathlib.Path(f"/proc/{pid}").exists()
    names = [name.read_text().strip() for name in pathlib.Path("/proc").glob("[0-9]*/comm")]
    assert not [name for name in names if name.startswith("simward")], names
    try:
        caller().call("get_server_info")
        raise AssertionError("somebody answers")
    except ConnectionRefusedError:
        pass
    assert pathlib.Path(TOKENS).exists()
    run("dpkg", "-P", "simward")
    left = run(
        *"find / -xdev ( -path /proc -o -path /sys -o -path /run -o -path /root -o".split(),
        *"-path /var/log/journal -o -path /var/cache ) -prune -o -name *simward* -print".split(),
    )
    assert not left, left
    assert subprocess.run(["getent", "passwd", "simward"]).returncode != 0
    units = run("systemctl", "list-units", "--all", "--no-legend", "simward*")
    assert not units, units


def main():
    failed = 0
    for each in checks:
        name, begun = each.__name__.replace("_", " "), time.monotonic()
        try:
            each()
            print(f"CHECK ok {name} ({time.monotonic() - begun:.0f} s)", flush=True)
        except Exception:  # Whatever it is, the others are tried, too.
            failed += 1
            print(f"CHECK FAILED {name}", flush=True)
            print(traceback.format_exc(limit=-3), flush=True)
            log = subprocess.run(
                "journalctl -u simward.service -n 12 -o cat --no-pager".split(), capture_output=True, text=True
            )
            print(log.stdout, flush=True)
    print(f"CHECKS {len(checks)} failed {failed}", flush=True)


if __name__ == "__main__":
    main()
