/* The version that both programs and the services name. */
#ifndef PITH_SERVER_COMMON_VERSION_H
#define PITH_SERVER_COMMON_VERSION_H

#define PITH_VERSION "0.1.0"

#endif
