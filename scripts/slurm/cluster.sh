#!/usr/bin/env bash
# A one-node Slurm on this machine, to try and test the cluster engines.
#
#   bash scripts/slurm/cluster.sh install   Debian or Ubuntu packages, about 100 MB (needs root)
#   bash scripts/slurm/cluster.sh start     munged, slurmctld and slurmd; about 5 seconds (needs root)
#   bash scripts/slurm/cluster.sh status    output of sinfo and squeue
#   bash scripts/slurm/cluster.sh stop      cancels every job and ends the three daemons
#
# One partition, "debug", on one node with the machine's number of CPUs (S2_SLURM_CPUS declares
# another). State and logs are in S2_SLURM_DIR, by default /tmp/s2-slurm; other commands find this
# Slurm through SLURM_CONF=$S2_SLURM_DIR/slurm.conf.
# Not for real work: no accounting, no cgroups, everything runs as root.
set -euo pipefail

state="${S2_SLURM_DIR:-/tmp/s2-slurm}"
export SLURM_CONF="$state/slurm.conf"

install() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
    apt-get update -qq || true # the existing lists may suffice
    # The packages start no daemon: `start` does, with its own configuration.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurmctld slurmd slurm-client munge
}

configure() {
    local cpus memory host
    cpus="${S2_SLURM_CPUS:-$(nproc)}"
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    host=$(hostname -s)
    mkdir -p "$state"/{ctld,d,log,munge}
    cat >"$SLURM_CONF" <<CONF
ClusterName=s2test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
SlurmctldPort=${S2_SLURM_PORT:-16817}
SlurmdPort=$((${S2_SLURM_PORT:-16817} + 1))
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
MinJobAge=60
KillWait=5
InactiveLimit=0
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

running() { [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

start() {
    [ "$(id -u)" = 0 ] || { echo "starting Slurm's daemons needs root" >&2; exit 2; }
    running "$state/slurmctld.pid" && running "$state/slurmd.pid" && return
    configure
    [ -s "$state/munge/munge.key" ] || head -c 1024 /dev/urandom >"$state/munge/munge.key"
    chmod 700 "$state/munge"
    chmod 400 "$state/munge/munge.key"
    # munged runs as the user who starts it; --force accepts its files in our own folder.
    running "$state/munge/munged.pid" || munged --force --num-threads=2 \
        --key-file="$state/munge/munge.key" --socket="$state/munge/munge.socket" \
        --pid-file="$state/munge/munged.pid" --log-file="$state/log/munged.log" \
        --seed-file="$state/munge/munge.seed"
    chmod 711 "$state/munge"
    slurmctld -c
    slurmd
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --format %t 2>/dev/null | head -n1)" = idle ] && return
        sleep 0.5
    done
    echo "Slurm did not come up; see $state/log" >&2
    tail -n 5 "$state"/log/*.log >&2
    exit 1
}

stop() {
    [ -f "$SLURM_CONF" ] || return 0
    scancel --user="$(id -un)" 2>/dev/null || true
    for pid in "$state/slurmd.pid" "$state/slurmctld.pid" "$state/munge/munged.pid"; do
        if running "$pid"; then
            kill "$(cat "$pid")" || true
            for _ in $(seq 40); do running "$pid" || break; sleep 0.25; done
        fi
    done
}

case "${1:-}" in
    install) install ;;
    start) start ;;
    status) sinfo && squeue ;;
    stop) stop ;;
    *) sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2 ;;
esac
