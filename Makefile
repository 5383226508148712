# Installs what `cargo build` and `scripts/manuals.sh` have made, for packages and by hand:
#
#   make
#   make install PREFIX=/usr/local DESTDIR=
#
# The packages for Debian and of RPM are made from what this installs, so here is the only list of files.

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=

NAME := socketio-humble-broker
TARGET := $(or $(CARGO_TARGET_DIR),target)
# What is installed; packages name another that they have built.
BINARY ?= $(TARGET)/release/$(NAME)
MANUALS ?= $(TARGET)/manuals

BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
MANDIR ?= $(DATADIR)/man
DOCDIR ?= $(DATADIR)/doc/$(NAME)
LICENSEDIR ?= $(DATADIR)/licenses/$(NAME)
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d

# The documents, in places where they lead to each other; what they say about the sources is not installed.
DOCUMENTS := README.md CHANGELOG.md SECURITY.md $(wildcard docs/*.md) \
	config/broker.toml $(wildcard config/examples/*.toml) $(wildcard packaging/proxies/*) \
	packaging/grafana/dashboard.json packaging/prometheus/alerts.yml packaging/prometheus/prometheus.yml

INSTALL := install -D -m 644

.PHONY: all install
all:
	cargo build --release --locked
	scripts/manuals.sh $(MANUALS)

# A configuration that is there is kept: packages bring their own ways to do that, and install into an empty
# DESTDIR.
install:
	install -D -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/$(NAME)
	ln -sf $(NAME) $(DESTDIR)$(BINDIR)/socket.io-humble-broker
	test -e $(DESTDIR)$(SYSCONFDIR)/$(NAME)/broker.toml || \
		$(INSTALL) config/broker.toml $(DESTDIR)$(SYSCONFDIR)/$(NAME)/broker.toml
	for unit in systemd/*; do \
		$(INSTALL) $$unit $(DESTDIR)$(UNITDIR)/$${unit##*/} && \
		sed -i 's|/usr/bin/|$(BINDIR)/|' $(DESTDIR)$(UNITDIR)/$${unit##*/} || exit; \
	done
	$(INSTALL) packaging/sysusers.d/$(NAME).conf $(DESTDIR)$(SYSUSERSDIR)/$(NAME).conf
	$(INSTALL) $(MANUALS)/$(NAME).1 $(DESTDIR)$(MANDIR)/man1/$(NAME).1
	ln -sf $(NAME).1 $(DESTDIR)$(MANDIR)/man1/socket.io-humble-broker.1
	$(INSTALL) $(MANUALS)/broker.toml.5 $(DESTDIR)$(MANDIR)/man5/broker.toml.5
	$(INSTALL) $(MANUALS)/$(NAME) $(DESTDIR)$(BASHDIR)/$(NAME)
	$(INSTALL) $(MANUALS)/_$(NAME) $(DESTDIR)$(ZSHDIR)/_$(NAME)
	$(INSTALL) $(MANUALS)/$(NAME).fish $(DESTDIR)$(FISHDIR)/$(NAME).fish
	for document in $(DOCUMENTS); do \
		$(INSTALL) $$document $(DESTDIR)$(DOCDIR)/$$document || exit; \
	done
	$(INSTALL) LICENSE $(DESTDIR)$(LICENSEDIR)/LICENSE
