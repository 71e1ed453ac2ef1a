# Every recipe is a one-liner over cargo or a script, so nothing needs `just` itself.

default: test

build:
    cargo build --release

# the whole suite: functions, clients, real OpenCode; installs the npm and PyPI packages it needs
test:
    cargo test --workspace

# which lines the tests reach, for `cargo install cargo-llvm-cov` and LLVM's tools of the compiler's version (LLVM_COV, LLVM_PROFDATA
# name them when rustup has no llvm-tools); the real assistant's and the supervisors' processes count, too
coverage *ARGS:
    cargo llvm-cov --workspace --ignore-filename-regex 'src/main\.rs|/tests/|/benches/' --fail-under-lines 80 --fail-under-functions 80 {{ARGS}}

lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets -- -D warnings

# the page, into web/dist; the next build of the binary has it in
web:
    npm install --ignore-scripts --no-audit --no-fund && npm run web

typecheck:
    npm run typecheck

# tables of latency, throughput, start, restart and memory, beside a yardstick of the same run
bench *ARGS:
    cargo bench --bench spine -- {{ARGS}}

# the same for the embedded deployment alone: mutations, subscriptions, growth, memory
bench-deployment *ARGS:
    cargo bench --bench deployment -- {{ARGS}}

# from the Enter key to the first word on the page, beside `send --stream` in the same run
bench-page ROUNDS="20":
    PAGE_ROUNDS={{ROUNDS}} cargo test --test web -- the_first_word --nocapture

# a seeded schedule of faults against everything, and a table: --seed N --minutes M
chaos *ARGS:
    cargo test --profile chaos --test chaos -- --minutes 10 {{ARGS}}

# clones this tree and shows, on the clone, what the product must show
acceptance:
    scripts/acceptance

ci:
    bash .ci/run

# rebuild and run again whenever a source changes
watch *ARGS:
    cargo watch -x "run -- {{ARGS}}"
