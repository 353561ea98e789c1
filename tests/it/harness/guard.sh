# Ends and removes everything of one test run once the test process is gone.
# Arguments: the variable that marks the run's processes, the run's directory (which is also its value).
trap '' INT TERM HUP
mark=$1 directory=$2 name=$(basename "$2")
cat >/dev/null # returns when the test process is gone, however it ended

cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$name" 2>/dev/null; }
processes() {
  grep -lszFx "$mark=$directory" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
  for group in $(cgroups); do find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null; done
}

# Everything is disposable, so nothing is asked to stop. Several rounds, because an engine may be starting something.
rounds=0
while [ $rounds -lt 100 ]; do
  pids=$(processes | sort -u)
  [ -z "$pids" ] && break
  kill -9 $pids 2>/dev/null
  sleep 0.05
  rounds=$((rounds + 1))
done

# containerd keeps the sockets of its shims outside every configurable directory.
for address in "$directory"/*/state/io.containerd.runtime.v2.task/*/*/address; do
  [ -f "$address" ] && rm -f "$(sed 's,^unix://,,' "$address")"
done
awk -v prefix="$directory/" 'index($5, prefix) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r mounted; do
  umount -l "$mounted"
done
# Podman's containers have control groups of its own naming; their processes went with its namespaces.
for container in "$directory"/*/root/overlay-containers/*/; do
  find /sys/fs/cgroup -maxdepth 3 -type d -path "*/libpod_parent/libpod-*$(basename "$container")" -exec rmdir {} \; 2>/dev/null
done
for namespace in /run/netns/"$name"-*; do
  [ -e "$namespace" ] && ip netns del "$(basename "$namespace")"
done
for group in $(cgroups); do find "$group" -depth -type d -exec rmdir {} \; ; done
rm -rf "$directory"
