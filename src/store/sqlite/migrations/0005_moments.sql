-- Where a rollout stood when something happened to it, for programs: its commit, status, step and counters.
ALTER TABLE events ADD COLUMN rollout TEXT;
