#include "runtime/text/route.h"
#include <string.h>
static const char *const names[PITH_DOMAIN_COUNT] = {"auto","prose","code","log","json","diff","search","shell","error_trace"};
const char *pith_domain_name(pith_domain domain){return names[domain];}
pith_domain pith_domain_find(const char *name){for(unsigned i=0;i<PITH_DOMAIN_COUNT;i++)if(strcmp(names[i],name)==0)return (pith_domain)i;return PITH_DOMAIN_COUNT;}
pith_domain pith_route(const char *text,size_t len){(void)text;(void)len;return PITH_DOMAIN_PROSE;}
