# The commands of daily work. `just` alone lists them.

[private]
default:
    @just --list --unsorted

# What must hold before a change is merged.
ci:
    .ci/run

# All tests; arguments go to cargo test.
test *arguments:
    ./scripts/test {{ arguments }}

# The main job, to be watched.
demo *arguments:
    ./scripts/demo {{ arguments }}

# The seeded simulation over this many seeds, with counts of what they had.
sim seeds="1000":
    BELLWETHER_SIM_SEEDS={{ seeds }} cargo test --release --all-features --test sim every_ -- --nocapture

# One seed of the simulation; a failing one shows what happened.
sim-seed seed:
    BELLWETHER_SIM_SEED={{ seed }} cargo test --all-features --test sim every_ -- --nocapture

# The demo's scenario this many times, killing controller and agents at random moments.
kill runs="10":
    BELLWETHER_KILL_RUNS={{ runs }} cargo test --all-features --test it kill -- --nocapture

# An agent on a real engine, killed before and after each request that changes something, and the engine killed amid them.
kill-engine:
    BELLWETHER_KILL_ENGINE=1 cargo test --all-features --test it kill::requests -- --nocapture --test-threads=1

# An agent that updates its OS with the real RAUC, killed before every step.
kill-os:
    BELLWETHER_KILL_OS=1 cargo test --all-features --test it os_updates::kills -- --nocapture

# A device's agent, killed twice in each scenario, at every pair of boundaries of its effects.
kill-matrix:
    cargo test --all-features --lib kill_matrix -- --include-ignored

# Every way in for bytes from outside, so many seconds each.
fuzz seconds="60" *targets:
    ./scripts/fuzz --seconds {{ seconds }} {{ targets }}

# One table of measurements; `--record` writes it down in docs/measurements.md.
bench *arguments:
    ./scripts/bench {{ arguments }}

# `bellwether inventory` against `ansible-inventory`: time, memory and the ratio.
bench-inventory *arguments:
    ./scripts/bench-inventory {{ arguments }}

# Writes the JSON Schemas that editors use.
schemas:
    cargo run --quiet -- schema --write schemas

# Builds the agent for a device and prints its size in bytes.
size:
    scripts/agent-size

# Writes the list of crates in the agent.
agent-deps:
    scripts/agent-deps
