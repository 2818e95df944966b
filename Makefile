# The daily commands. `make check` needs a Rust toolchain (1.89 or later) and a C compiler.

CARGO    ?= cargo
PREFIX   ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR  ?=
T        ?= 60
TARGET   ?= $(or $(CARGO_TARGET_DIR),target)

LIBEXEC_PROGRAMS = smtpd queue-manager remote-send local-deliver authd pop3d banwatch mail-start fail2ban-client
USER_PROGRAMS    = hikyaku sendmail banwatch-regex

.PHONY: all run check check-root oracles crash fuzz bench install uninstall clean

# The places that the programs know without being told; the same for `all` and `run`.
RELEASE = HIKYAKU_LIBEXEC=$(PREFIX)/libexec/hikyaku HIKYAKU_CONFIG_FILE=$(SYSCONFDIR)/hikyaku/hikyaku.toml \
	$(CARGO) build --release --workspace --locked

all:
	$(RELEASE)

run:
	$(RELEASE)
	$(TARGET)/release/first-letter

check:
	scripts/check

check-root:
	scripts/check-root

oracles:
	scripts/oracles

crash:
	$(CARGO) build --workspace
	$(CARGO) build -p end-to-end --bins
	$(TARGET)/debug/crash

fuzz:
	scripts/fuzz $(T)

bench:
	scripts/bench/run

install:
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" TARGET="$(TARGET)" \
	LIBEXEC_PROGRAMS="$(LIBEXEC_PROGRAMS)" USER_PROGRAMS="$(USER_PROGRAMS)" scripts/install

uninstall:
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" SYSCONFDIR="$(SYSCONFDIR)" \
	LIBEXEC_PROGRAMS="$(LIBEXEC_PROGRAMS)" USER_PROGRAMS="$(USER_PROGRAMS)" scripts/install --remove

clean:
	$(CARGO) clean
