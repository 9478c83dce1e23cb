# tests/ -- what `make check` runs: the unit tests (cmocka), and each fuzzer over its corpus.

# What the API tests take from npm.
EXTRA_DIST += tests/package.json tests/package-lock.json tests/.npmrc

UNIT_TESTS =
UNIT_TESTS += tests/unit/test_arena
UNIT_TESTS += tests/unit/test_jw tests/unit/test_jr
UNIT_TESTS += tests/unit/test_db
UNIT_TESTS += tests/unit/test_rows
UNIT_TESTS += tests/unit/test_dbreq
UNIT_TESTS += tests/unit/test_shape
UNIT_TESTS += tests/unit/test_idempotency
UNIT_TESTS += tests/unit/test_input
UNIT_TESTS += tests/unit/test_reply
UNIT_TESTS += tests/unit/test_app
UNIT_TESTS += tests/unit/test_totals
UNIT_TESTS += tests/unit/test_fragment
UNIT_TESTS += tests/unit/test_kept
EXTRA_DIST += tests/unit/request.h tests/unit/fakedb.h tests/unit/with_arena.h tests/unit/no_engineio.h tests/unit/scarce.h
UNIT_TESTS += tests/unit/test_multipart
UNIT_TESTS += tests/unit/test_config
UNIT_TESTS += tests/unit/test_encoding
UNIT_TESTS += tests/unit/test_crypto
UNIT_TESTS += tests/unit/test_fileurl
UNIT_TESTS += tests/unit/test_log
UNIT_TESTS += tests/unit/test_metrics
UNIT_TESTS += tests/unit/test_sentry
UNIT_TESTS += tests/unit/test_money
UNIT_TESTS += tests/unit/test_token
UNIT_TESTS += tests/unit/test_valid
UNIT_TESTS += tests/unit/test_imagehead
UNIT_TESTS += tests/unit/test_image
UNIT_TESTS += tests/unit/test_store
UNIT_TESTS += tests/unit/test_sigv4
UNIT_TESTS += tests/unit/test_s3list
UNIT_TESTS += tests/unit/test_upload
UNIT_TESTS += tests/unit/test_whatsapp
UNIT_TESTS += tests/unit/test_hook

UNIT_TESTS += tests/unit/test_batch
tests_unit_test_batch_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cgi-bin
UNIT_TESTS += tests/unit/test_close_auctions
tests_unit_test_close_auctions_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cron

UNIT_TESTS += tests/unit/test_ctl
tests_unit_test_ctl_SOURCES = tests/unit/test_ctl.c ctl/tool.c ctl/pg.c ctl/keys.c ctl/bucket.c ctl/carry.c ctl/doctor_database.c

UNIT_TESTS += tests/unit/test_engineio tests/unit/test_socketio
tests_unit_test_engineio_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_unit_test_socketio_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_unit_test_engineio_LDADD    = -lev
tests_unit_test_socketio_LDADD    = -lev

FUZZERS =
FUZZERS += tests/fuzz/fuzz_multipart
FUZZERS += tests/fuzz/fuzz_imagehead
FUZZERS += tests/fuzz/fuzz_engineio tests/fuzz/fuzz_socketio
tests_fuzz_fuzz_engineio_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_fuzz_fuzz_socketio_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_fuzz_fuzz_engineio_LDADD    = realtime/librealtime.a
tests_fuzz_fuzz_socketio_LDADD    = realtime/librealtime.a $(JSON_LIBS)
FUZZERS += tests/fuzz/fuzz_fileurl
FUZZERS += tests/fuzz/fuzz_token
FUZZERS += tests/fuzz/fuzz_s3list
FUZZERS += tests/fuzz/fuzz_whatsapp
tests_fuzz_fuzz_whatsapp_LDADD = $(SELLIKO_LIBS) $(JSON_LIBS)
FUZZERS += tests/fuzz/fuzz_config
FUZZERS += tests/fuzz/fuzz_valid
FUZZERS += tests/fuzz/fuzz_form
FUZZERS += tests/fuzz/fuzz_sealed
FUZZERS += tests/fuzz/fuzz_photo
FUZZERS += tests/fuzz/fuzz_batch
tests_fuzz_fuzz_batch_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cgi-bin
# A second reader of JSON, to hold ours against.
FUZZERS += tests/fuzz/fuzz_request tests/fuzz/fuzz_json tests/fuzz/fuzz_location
tests_fuzz_fuzz_request_LDADD  = realtime/librealtime.a $(SELLIKO_LIBS)
tests_fuzz_fuzz_json_LDADD     = realtime/librealtime.a $(SELLIKO_LIBS) $(JSON_LIBS)
tests_fuzz_fuzz_location_LDADD = realtime/librealtime.a $(SELLIKO_LIBS)
FUZZERS += tests/fuzz/fuzz_sentry
tests_fuzz_fuzz_sentry_SOURCES  = tests/fuzz/fuzz_sentry.c $(CRON)
tests_fuzz_fuzz_sentry_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cron
tests_fuzz_fuzz_sentry_LDADD    = $(SELLIKO_LIBS) $(JSON_LIBS)
FUZZERS += tests/fuzz/fuzz_gateway
tests_fuzz_fuzz_gateway_SOURCES  = tests/fuzz/fuzz_gateway.c realtime/wording.c
tests_fuzz_fuzz_gateway_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_fuzz_fuzz_gateway_LDADD    = realtime/librealtime.a $(SELLIKO_LIBS) -lev
EXTRA_DIST += tests/fuzz/reference.h
FUZZERS += tests/fuzz/fuzz_jr
# json-c says whether what we write and read is JSON.
tests_unit_test_jw_LDADD  = $(SELLIKO_LIBS) $(JSON_LIBS)
tests_unit_test_log_LDADD = $(SELLIKO_LIBS) $(JSON_LIBS)
tests_fuzz_fuzz_jr_LDADD  = $(SELLIKO_LIBS) $(JSON_LIBS)
EXTRA_DIST += tests/coverage.js

# What the measurements need beside the service.
# Built with the tests, so that no change breaks them unseen; run by hand.
check_PROGRAMS += tests/bench/seeder tests/bench/statement tests/bench/pace tests/bench/least
tests_bench_least_CPPFLAGS     = $(AM_CPPFLAGS) -I$(top_srcdir)/realtime
tests_bench_least_LDADD        = realtime/librealtime.a $(SELLIKO_LIBS)
tests_bench_statement_SOURCES  = tests/bench/statement.c
tests_bench_statement_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/cgi-bin

# A unit test includes the .c that it tests, so the library's copy of that module is left out by the
# linker; the rest comes from the library.
if HAVE_CMOCKA
check_PROGRAMS += $(UNIT_TESTS)
TESTS          += $(UNIT_TESTS)
endif
tests/unit/%: LIBS += $(CMOCKA_LIBS)
tests_unit_test_image_CFLAGS = $(AM_CFLAGS) $(LCMS_CFLAGS)
tests_unit_test_image_LDADD  = $(SELLIKO_LIBS) $(LCMS_LIBS)

# With --enable-fuzzing libFuzzer brings main(); otherwise tests/fuzz/replay_main.c does, and runs the
# harness over tests/fuzz/corpus/NAME/* and for two seconds over what blind changes make of it.
check_PROGRAMS += $(FUZZERS)
if FUZZING
tests/fuzz/%: LIBS += -fsanitize=fuzzer
else
TESTS           += $(FUZZERS)
check_LIBRARIES += tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay_main.c
$(FUZZERS): tests/fuzz/libreplay.a
tests/fuzz/%: LIBS := tests/fuzz/libreplay.a $(LIBS)
endif

# make fuzz SECONDS=60: each fuzzer so long under libFuzzer, ASan and UBSan, from the corpus and from what
# earlier runs found (fuzzing/found); FUZZ="json token" takes these only.  A crash ends it and leaves its input.
SECONDS = 60
FUZZ = $(FUZZERS:tests/fuzz/fuzz_%=%)
fuzz:
	$(MKDIR_P) fuzzing
	cd fuzzing && { test -f Makefile || \
	    $(abs_top_srcdir)/configure -q CC=clang CFLAGS='-O1 -g' --enable-fuzzing --enable-sanitizers; }
	cd fuzzing && $(MAKE) $(AM_MAKEFLAGS) $(FUZZ:%=tests/fuzz/fuzz_%)
	cd fuzzing && for f in $(FUZZ); do \
	    $(MKDIR_P) found/$$f && echo "==> $$f, $(SECONDS) s" && \
	    tests/fuzz/fuzz_$$f -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=1 -artifact_prefix=$$f- \
	        found/$$f $(abs_top_srcdir)/tests/fuzz/corpus/$$f >$$f.log 2>&1 || { tail -n 40 $$f.log; exit 1; }; \
	    sed -n 's/^stat::number_of_executed_units: */    inputs: /p' $$f.log; \
	done
.PHONY: fuzz
# Its folder is not of the distribution's tree.
clean-local:
	rm -rf fuzzing

AM_TESTS_ENVIRONMENT = TOP_SRCDIR='$(abs_top_srcdir)'; export TOP_SRCDIR; \
                       ASAN_OPTIONS="$${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=1}"; export ASAN_OPTIONS;

# The sender with places to die at, for tests/faults.
check_PROGRAMS += tests/faults/send-whatsapp
tests_faults_send_whatsapp_SOURCES  = $(SEND_WHATSAPP)
tests_faults_send_whatsapp_CPPFLAGS = $(AM_CPPFLAGS) -DSELLIKO_FAULTS
