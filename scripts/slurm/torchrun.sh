# Sourced by the jobs that train: `train_on_all_gpus OPTIONS` runs workbench with these options, one
# process for each GPU of the node. If Slurm asks the job to stop (USR1 or TERM), the training saves a
# checkpoint and the job queues itself again, unless the training has just finished.
stopped=0
training=
trap 'forward USR1' USR1
trap 'forward TERM' TERM

# The signal goes to the processes that train. torchrun would end on it, which is right only before it
# has started them.
forward() {
    stopped=1
    kill "-$1" $(cat "/proc/${training:-none}/task/"*/children 2>/dev/null) 2>/dev/null ||
        kill "$training" 2>/dev/null || true
}

queue_again() {
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}

train_on_all_gpus() {
    local status
    [ "$stopped" = 0 ] || queue_again # asked to stop while the training before this one finished
    torchrun --standalone --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --module workbench.cli "$@" &
    training=$!
    while :; do
        wait "$training" && status=0 || status=$?
        kill -0 "$training" 2>/dev/null || break # a signal ends the wait, not the training
    done
    training=
    [ "$stopped" = 0 ] || [ "$status" = 0 ] || queue_again
    return "$status"
}
