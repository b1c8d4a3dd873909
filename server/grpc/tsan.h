/* ThreadSanitizer does not see inside the gRPC core. What orders our threads through it is told
 * here: a tag is released when an operation starts and acquired when its completion is read. */
#ifndef PITH_SERVER_GRPC_TSAN_H
#define PITH_SERVER_GRPC_TSAN_H

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define PITH_TSAN_ACQUIRE(address) __tsan_acquire(address)
#define PITH_TSAN_RELEASE(address) __tsan_release(address)
#else
#define PITH_TSAN_ACQUIRE(address) ((void)(address))
#define PITH_TSAN_RELEASE(address) ((void)(address))
#endif

#endif
