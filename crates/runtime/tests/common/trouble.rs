//! Apps that want more than they may have, each in one way.

/// Starts processes until it may not, and goes on trying.
pub(crate) const FORKS: &str = r#"
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(1000)
    except OSError: print("refused", flush=True); time.sleep(0.1)
"#;

/// Fills its disk, says how much there was, and goes on writing.
pub(crate) const FILLS: &str = "dd if=/dev/zero of=/app/big bs=1M 2>/dev/null; echo full $(($(stat -c %s /app/big) >> 20)); while :; do dd if=/dev/zero of=/app/more bs=1M count=8 2>/dev/null; sleep 0.05; done";

/// Takes one MiB after the other.
pub(crate) const EATS: &str =
    "exec python3 -S -c 'x = []\nwhile True: x.append(bytearray(b\"x\") * (1 << 20))'";

/// Uses the processor and nothing else.
pub(crate) const SPINS: &str = "echo spins; while :; do :; done";
