# Each target calls a script of scripts/, which installs what it needs first (by apt, as root).

.PHONY: help build web screenshots guest-image demo package test test-package test-cluster fuzz soak bench bench-quick simulate

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

build: ## Build the program, with the page inside: target/release/serialproxy
	@scripts/build

web: ## Build the terminal page alone: web/dist
	@scripts/web

screenshots: ## Take a picture of each state of the pages: target/screenshots
	@scripts/screenshots

guest-image: ## Make a small guest image: target/guest-image/demo
	@scripts/guest-image

demo: ## Start a guest on this machine, with its consoles in the browser; Ctrl-C ends it and cleans up
	@scripts/demo

package: ## Make the packages: target/package
	@scripts/package

test: ## Run all tests, also those with a real guest and a browser
	@scripts/test

test-package: ## Make the packages, and install and use them on a fresh Debian
	@scripts/test-package

test-cluster: ## Run all tests of clusters, also the long ones: hosts cut off, 50 proxies killed
	@scripts/test-cluster

fuzz: ## Fuzz the parsers, a minute each
	@scripts/fuzz

soak: ## Attack serialproxy with hostile clients and guests for ten minutes (make test: one minute)
	@scripts/soak

bench: ## Benchmark beside HAProxy and websockify, about 25 minutes: docs/performance.md
	@scripts/bench

bench-quick: ## The same in three minutes, less precise
	@scripts/bench --quick

simulate: ## Simulate a cluster with 100,000 servers, two minutes: docs/performance.md
	@scripts/simulate
