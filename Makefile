# Two-command front to meson and ninja. `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local

.PHONY: all
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) -Dprefix=$(PREFIX)
