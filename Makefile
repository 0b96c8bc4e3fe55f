# Each target calls a script of scripts/, which installs what it needs first (by apt, as root).

.PHONY: help build web guest-image demo test fuzz soak bench bench-quick

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

build: ## Build the program, with the page inside: target/release/serialproxy
	@scripts/build

web: ## Build the terminal page alone: web/dist
	@scripts/web

guest-image: ## Make a small guest image: target/guest-image/demo
	@scripts/guest-image

demo: ## Run it all on this machine: a real guest, its consoles in the browser; Ctrl-C ends and cleans up
	@scripts/demo

test: ## Run all tests, those with a real guest and a browser too
	@scripts/test

fuzz: ## Feed the parsers with made-up bytes, a minute each
	@scripts/fuzz

soak: ## Attack it with hostile clients and guests for ten minutes (make test: for one)
	@scripts/soak

bench: ## Measure it beside HAProxy and websockify: some 20 minutes, docs/performance.md
	@scripts/bench

bench-quick: ## The same in two minutes, for a first look
	@scripts/bench --quick
