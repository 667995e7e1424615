# modelmapd - a live map of language models. `make help` lists what one can do here.
#
# Layout: every folder of lib/ is one archive; daemon/ and client/ are archives too, so that tests link what the
# programs are made of. Objects go to $(OUT), one folder for each combination of MODE and SANITIZE.

PREFIX    ?= /usr/local
DESTDIR   ?=
MODE      ?= release# release | debug | tsan | cov
SANITIZE  ?=# e.g. address,undefined
DNNL      ?= 1# 0: build without oneDNN, OpenBLAS only
V         ?= 0
CC        := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
empty     :=
comma     := ,
MODE      := $(strip $(MODE))
SANITIZE  := $(strip $(SANITIZE))
DNNL      := $(strip $(DNNL))
BUILD     ?= build
OUT       := $(BUILD)/$(MODE)$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(filter 0,$(DNNL)),-nodnnl)$(if $(findstring clang,$(CC)),-clang)

WARN      := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
             -Wno-format-nonliteral -Wundef -Wno-unknown-pragmas -Wno-psabi $(if $(WERROR),-Werror)
OPT_release := -O2 -g
OPT_debug   := -O0 -g3
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_cov     := -O0 -g --coverage
SAN       := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
CPPFLAGS  += -Ilib -I. -D_GNU_SOURCE -DMM_PREFIX='"$(PREFIX)"' -DMM_DNNL=$(DNNL)
CFLAGS    += -std=c11 -fPIC -fopenmp -ffp-contract=off $(WARN) $(OPT_$(MODE)) $(SAN) $(EXTRA_CFLAGS)
LDFLAGS   += -fopenmp $(OPT_$(MODE)) $(SAN) -Wl,--as-needed

# ---- layers: sources, archives, and what a program of that layer links (see HACKING.md, "arrows") ----
LAYERS    := base tensor model stat store wire
src        = $(sort $(wildcard lib/$(1)/*.c))
DAEMON_SRC := $(filter-out daemon/main.c daemon/score_%.c,$(sort $(wildcard daemon/*.c)))
SCORE_SRC  := $(sort $(wildcard daemon/score_*.c))
CLIENT_SRC := $(filter-out client/main.c,$(sort $(wildcard client/*.c)))

A          = $(OUT)/lib$(1).a
SYS_base   := -ljansson -lxxhash -lm
SYS_tensor := $(if $(filter 1,$(DNNL)),-ldnnl) -llapacke -lopenblas
LINK_base   = $(call A,base) $(SYS_base)
LINK_tensor = $(call A,tensor) $(LINK_base) $(SYS_tensor)
LINK_model  = $(call A,model) $(LINK_tensor) -lpcre2-8 -lutf8proc
LINK_stat   = $(call A,stat) $(LINK_tensor)
LINK_store  = $(call A,store) $(LINK_base) -llmdb
LINK_wire   = $(call A,wire) $(LINK_base)
LINK_daemon = $(call A,daemon) $(call A,stat) $(call A,store) $(call A,wire) $(LINK_tensor) -llmdb -lzmq -lsystemd -lyaml -lmicrohttpd -lpthread
LINK_client = $(call A,client) $(LINK_wire) -lzmq
LINK_score  = $(patsubst %.c,$(OUT)/%.o,$(filter-out daemon/score_main.c,$(SCORE_SRC))) $(call A,model) $(call A,wire) $(LINK_tensor) -lpcre2-8 -lutf8proc
archives    = $(filter %.a %.o,$(LINK_$(1)))

PROGRAMS  := $(OUT)/modelmapd $(OUT)/modelmap-score $(OUT)/modelmap
BIN       := $(BUILD)/bin

.PHONY: web all demo check ci deps deps-test test e2e lint format fuzz fuzz-run bench bench-accuracy power install uninstall deb check-deb clean help man
all: $(PROGRAMS) ## build the three programs
	@mkdir -p $(BIN) && for p in $(PROGRAMS); do ln -sfn "../$${p#$(BUILD)/}" "$(BIN)/$${p##*/}"; done

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)	$(2)")

$(OUT)/%.o: %.c Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(filter lib/tensor/% lib/stat/%,$<),-fno-math-errno $(if $(filter release,$(MODE)),-O3)) -MMD -MP -c -o $@ $<

define archive
$(OUT)/lib$(1).a: $(patsubst %.c,$(OUT)/%.o,$(2))
	$$(call say,AR,$$@)
	@mkdir -p $$(@D) && rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call archive,$(l),$(call src,$(l)))))
$(eval $(call archive,daemon,$(DAEMON_SRC)))
$(eval $(call archive,client,$(CLIENT_SRC)))

link = $(Q)$(CC) $(LDFLAGS) -o $@ $(1)
$(OUT)/modelmapd: $(OUT)/daemon/main.o $(call archives,daemon)
	$(call say,LD,$@)
	$(call link,$(OUT)/daemon/main.o $(LINK_daemon))
$(OUT)/modelmap-score: $(OUT)/daemon/score_main.o $(call archives,score)
	$(call say,LD,$@)
	$(call link,$(OUT)/daemon/score_main.o $(LINK_score))
$(OUT)/modelmap: $(OUT)/client/main.o $(call archives,client)
	$(call say,LD,$@)
	$(call link,$(OUT)/client/main.o $(LINK_client))

# ---- tests: tests/unit/LAYER/test_*.c link their layer; tests/fuzz/LAYER/fuzz_*.c replay their seeds ----
TLAYERS   := $(LAYERS) daemon client score
UNIT_SRC  := $(sort $(wildcard tests/unit/*/test_*.c tests/golden/*/test_*.c tests/bad/*/test_*.c tests/oom/*/test_*.c))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/*/fuzz_*.c))
UNIT_BIN  := $(patsubst %.c,$(OUT)/%,$(UNIT_SRC))
REPLAY_BIN := $(patsubst %.c,$(OUT)/%,$(FUZZ_SRC))

layer_of = $(word 3,$(subst /, ,$(1)))
define one_test
$(OUT)/$(basename $(1)): $(OUT)/$(basename $(1)).o $(call archives,$(call layer_of,$(1)))
	$$(call say,LD,$$@)
	$$(call link,$(OUT)/$(basename $(1)).o $(LINK_$(call layer_of,$(1))) -lcmocka)
endef
$(foreach t,$(UNIT_SRC),$(eval $(call one_test,$(t))))
define one_replay
$(OUT)/$(basename $(1)): $(OUT)/$(basename $(1)).o $(OUT)/tests/fuzz/replay.o $(call archives,$(call layer_of,$(1)))
	$$(call say,LD,$$@)
	$$(call link,$(OUT)/$(basename $(1)).o $(OUT)/tests/fuzz/replay.o $(LINK_$(call layer_of,$(1))))
endef
$(foreach t,$(FUZZ_SRC),$(eval $(call one_replay,$(t))))

deps: ## install what the build needs (apt; says what it does, nothing if all is there)
	@scripts/deps.sh build
deps-test:
	@scripts/deps.sh build test

test: all $(UNIT_BIN) $(REPLAY_BIN) ## build and run all tests, no lint (T=pattern picks some)
	@OUT=$(OUT) scripts/run-tests.sh $(UNIT_BIN) $(REPLAY_BIN) $(if $(E2E_OFF),,$(sort $(wildcard tests/e2e/test_*.sh)))

# The tests come last, so that the closing line is theirs.
check: deps-test ## install what tests need, build, lint, run all tests
	@$(MAKE) --no-print-directory WERROR=1 all
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory WERROR=1 test

demo: deps ## watch ten real tiny checkpoints arrive on the map
	@$(MAKE) --no-print-directory all
	@BIN=$(CURDIR)/$(BIN) scripts/demo.sh

lint: ## formatting, include arrows, fenced headers, shell scripts
	@scripts/lint.sh
format: ## clang-format all C files
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i

# ---- fuzzing: clang's libFuzzer; FUZZ=name picks one, SECONDS each ----
FUZZ_SECONDS ?= 60
fuzz: ## build the fuzzers and run each for FUZZ_SECONDS (FUZZ=pattern picks some)
	@$(MAKE) --no-print-directory fuzz-run CC=clang BUILD=$(BUILD)/fuzz MODE=release
fuzz-run: EXTRA_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
fuzz-run: LDFLAGS += -fsanitize=fuzzer,address,undefined
fuzz-run: $(foreach l,$(LAYERS) daemon client,$(call A,$(l)))
	@for f in $(FUZZ_SRC); do n=$$(basename $$f .c); case $$n in *$(FUZZ)*) ;; *) continue;; esac; \
	  $(MAKE) --no-print-directory fuzz-one F=$$f CC=clang BUILD=$(BUILD) MODE=release || exit 1; \
	  FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh $(OUT)/fuzz/$$n || exit 1; done
.PHONY: fuzz-one
fuzz-one: EXTRA_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
fuzz-one: LDFLAGS += -fsanitize=fuzzer,address,undefined
fuzz-one: $(OUT)/$(basename $(F)).o $(if $(F),$(call archives,$(call layer_of,$(F))))
	@mkdir -p $(OUT)/fuzz
	$(Q)$(CC) $(LDFLAGS) -o $(OUT)/fuzz/$(notdir $(basename $(F))) $(OUT)/$(basename $(F)).o $(LINK_$(call layer_of,$(F)))

# ---- benches: tests/bench/LAYER/bench_*.c print tables; speed is measured here, never asserted in tests ----
BENCH_SRC := $(sort $(wildcard tests/bench/*/bench_*.c))
$(foreach t,$(BENCH_SRC),$(eval $(call one_test,$(t))))
BENCH_BIN := $(patsubst %.c,$(OUT)/%,$(BENCH_SRC))
bench: all $(BENCH_BIN) ## measure (B=pattern picks some)
	@OUT=$(OUT) BIN=$(CURDIR)/$(BIN) scripts/bench.sh $(BENCH_BIN) $(sort $(wildcard tests/bench/bench_*.sh))

$(eval $(call one_test,tests/bench/model/accuracy.c))
bench-accuracy: $(OUT)/tests/bench/model/accuracy ## what bf16 arithmetic changes: nats a token, distances of the zoo
	@$<

# ---- power of the tests for leaks: a table for the documentation (HACKING.md); ARGS="WORLDS MODELS TEXTS" ----
$(eval $(call one_test,tests/bench/stat/power_leak.c))
power: $(OUT)/tests/bench/stat/power_leak ## how small a leak is found: planted ones in simulated worlds
	@$< $(ARGS)

# ---- the page for a browser: needs node and npm, everything else does not ----
web: ## build the page that the daemon serves over HTTP (WEB=0: not; skipped with a line where node is missing)
	@WEB=$(WEB) scripts/web.sh $(BUILD)/web || [ $$? = 77 ]

man: all ## put what tables make into man/ and config/modelmapd.yaml (after a new option, command, argument or key)
	@BIN=$(OUT) scripts/man.sh

# ---- install ----
install: all web ## install programs, unit, config, man pages, completion, page (DESTDIR=, PREFIX=, WEB=0)
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) OUT=$(OUT) WEBOUT=$(if $(filter 0,$(WEB)),,$(BUILD)/web) scripts/install.sh
uninstall: ## remove what install put there (an edited configuration and the state stay)
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) scripts/install.sh uninstall

# ---- Debian packages: debian/ says what is in which ----
deb: ## make Debian packages in build/deb (apt installs debhelper and lintian; WEB=0: without the page)
	@scripts/deps.sh build deb
	@$(MAKE) --no-print-directory web
	@scripts/deb.sh $(BUILD)
check-deb: deb ## install them under a systemd of their own, use, remove and purge them (needs root)
	@tests/deb/check.sh $(BUILD)/deb

clean: ## remove build/
	rm -rf $(BUILD)
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n",$$1,$$2}' Makefile
	@echo '  variables: MODE=release|debug|tsan|cov SANITIZE=address,undefined DNNL=0 PREFIX= DESTDIR= T= B= FUZZ= V=1'

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
.SECONDARY:
