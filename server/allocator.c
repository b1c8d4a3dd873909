/* Settings of jemalloc, the process allocator: freed pages go back to the system after 5 s, by a
 * background thread, so that one large text does not keep its memory. Two arenas: the threads
 * that allocate at the same time are the ingest and finish pools and the transport's poller. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0,narenas:2";
