# Two-command front to meson and ninja: `make demo` and `make test` (README.md). Everything else is for developers.
#
# BUILD is the release build that `make` leaves; the test builds stand beside it.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc)

.PHONY: all
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS) --quiet

$(BUILD)/build.ninja: | setup-build
	@meson setup $(BUILD) -Dprefix=$(PREFIX) > $(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@rm -f $(BUILD)-setup.log

# installs what is missing (and nothing when all is there)
.PHONY: setup-build setup-test setup-demo
setup-build:
	@tools/setup build
setup-test:
	@tools/setup build test
setup-demo:
	@tools/setup build demo

.PHONY: demo
demo: setup-demo all
	@tools/demo $(BUILD)

.PHONY: test
test: setup-test
	@tools/test

# the slow and long checks as well: kill -9 fifty times, ten minutes of each fuzz target, the accuracy and speed bars
.PHONY: test-full
test-full: setup-test
	@tools/setup neon
	@tools/test --full

# speed beside the peers that are installed (bench/README.md)
.PHONY: bench
bench: all
	@bench/run $(BUILD)

.PHONY: install
install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR=$(if $(DESTDIR),$(abspath $(DESTDIR))) meson install -C $(BUILD) --quiet

.PHONY: clean
clean:
	@rm -rf $(BUILD) $(BUILD)-*
