/* stat.h - the map's statistics: pure functions over matrices. (The contract so far is in the functions' own comments.) */
#ifndef MM_STAT_H
#define MM_STAT_H
#include "base/base.h"
#endif
