/* Sends the gRPC core's log lines to ours. Process-wide; any thread. */
#ifndef PITH_SERVER_GRPC_CORE_LOG_H
#define PITH_SERVER_GRPC_CORE_LOG_H

/* The core's errors become warnings, the rest is debug. At most 10 lines a second are passed on,
 * with a count of those left out: a peer can make the core log at will. */
void pith_core_log_install(void);

#endif
