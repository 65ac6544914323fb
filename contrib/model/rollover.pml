/* The rollover rules of design 3-4 as a finite model; README.md says what is what. One process: each option of its loop is
 * one event, which can happen at any time, so a state is nothing but the values of the variables below.
 *
 * A set of keys is a mask. Time is whole ticks; ages stop counting where nothing depends on them any more. */

#ifndef KEYS
#define KEYS   3
#endif
#define HOSTS  2       /* mail hosts, one watched file each */
#ifndef CACHES
#define CACHES 1
#endif
#ifndef TTL
#define TTL    2       /* of the RRset */
#endif
#define PROP   1       /* how long the second server may lag behind (propagation) */
#ifndef PROMISE
#define PROMISE 2      /* a host stops presenting a key within so many ticks of its replacement on disk */
#endif

/* The least hold that is right; the product's own default is longer by another TTL. */
#ifdef DNS_ONLY
#define LEAST TTL      /* tlsactl wait sees for itself when the slowest server has the key */
#else
#define LEAST (PROP + TTL)
#endif
#ifdef SHORT_HOLD
#define HOLD (LEAST - 1)
#else
#define HOLD LEAST
#endif
#ifdef SHORT_GRACE
#define GRACE (PROMISE - 1)
#else
#define GRACE PROMISE
#endif

#define has(set, k) (((set) >> (k)) & 1)
#define one(k)      (1 << (k))
#define NOBODY      KEYS

/* The disks of the hosts, and what the hosts present. */
byte file[HOSTS];      /* the installed key */
byte live[HOSTS];      /* the key in memory: loaded late */
byte since[HOSTS];     /* how long ago the key in memory was replaced on disk */
byte staged;           /* the keys in `next` */

/* The ledger: what survives a crash. */
byte in = 1, ready = 1, stamped = 1, used = 1, retired;
byte pubW[KEYS], pubS[KEYS];  /* since Tpub by the wall clock and by the time of service, until Ready */
byte retW[KEYS], retS[KEYS];  /* since Tret */

/* The first server and its status; the second server. */
#define DOWN     0
#define STARTING 1     /* recorded, and not asked yet (between OnStartup and instancestartup) */
#define SERVING  2
byte up = SERVING;
byte shown = 1, told = 1;     /* what DNS answers, and what the status says is Ready */
byte second = 1, lag;

/* Caches: an RRset, and for how long still; 0 is no entry, or NODATA. */
byte cache[CACHES], left[CACHES];

#ifdef DNS_ONLY               /* tlsactl wait without the socket: the key, and for how long all servers have shown it */
byte wish = NOBODY, seen;
bool looked;
#endif

#ifdef WITHDRAWAL             /* rule 8: the operator has the name answered without records */
bool withdrawn;
byte noneW, noneS;
#else
#define withdrawn false
#endif

#ifdef COPY                   /* the ledger's copy, from some time before; its clock of service stands still */
byte copyIn = 1, copyReady = 1, copyStamped = 1, copyActive = 1, copyRetired, copyPub[KEYS], copyRet[KEYS];
#endif

/* For how long, in true time, a published key has not been on disk; that a retired one waits there again counts when it has
 * been seen, because only then anybody is told that it is safe. The rules do not know this. */
byte unneeded[KEYS];

byte h, k, c, from;           /* counters; 0 between events */

/* What the directories hold. */
#ifdef BLIND_RETIRES
byte sight = true;
#define inst (sight -> one(file[0]) | one(file[1]) : 0)
#define need (sight -> one(file[0]) | one(file[1]) | staged : 0)
#else
#define inst (one(file[0]) | one(file[1]))
#define need (inst | staged)
#endif

#define older(age, most) if :: age < most -> age++ :: else fi
#define each(i, n)       i = 0; do :: i < n ->
#define end(i)           i++ :: else -> break od; i = 0

#ifdef JUMP_COUNTS
#define passed(wall, service, most) ((wall) >= (most))
#else
#define passed(wall, service, most) ((wall) >= (most) && (service) >= (most)) /* rule 4 */
#endif

/* I1: every RRset in a cache has every key that a host presents. */
inline promise() {
    each(h, HOSTS)
        each(c, CACHES) assert(cache[c] == 0 || has(cache[c], live[h])); end(c);
    end(h)
}

/* I4: nobody has, or still gets, an RRset without a key that is Ready. */
inline everywhere(key) {
    each(c, CACHES) assert(cache[c] == 0 || has(cache[c], key)); end(c);
    assert(second == 0 || has(second, key))
}

inline begin(key) { pubW[key] = 0; pubS[key] = 0; ready = ready & ~one(key); stamped = stamped & ~one(key) }
inline revive(key) { unneeded[key] = 0; retW[key] = 0; retS[key] = 0; retired = retired & ~one(key) }

/* Rules 1 and 3: take up what the directories hold, retire what they hold no more. */
inline look() {
#ifdef DNS_ONLY
    looked = true;
#endif
    each(k, KEYS)
        if
        :: has(need, k) && !has(in, k) -> in = in | one(k); begin(k)
        :: has(need, k) && has(retired, k) -> revive(k)
        :: !has(need, k) && has(in & ~retired, k) -> retired = retired | one(k)
        :: else
        fi;
    end(k);
#if defined(BY_TIME)
    if :: inst & (inst - 1) -> retired = retired | (inst & used) :: else fi;
#elif defined(ONE_HOST)
    each(k, KEYS)
        if :: has(used & ~staged, k) && file[0] != k -> retired = retired | one(k) :: else fi;
    end(k);
#endif
    used = inst & ~retired
}

/* Rules 2 to 4: what is due by both clocks. */
inline ripen() {
    each(k, KEYS)
        if
#ifdef BLIND_RETIRES
        :: has(in & retired, k) && passed(retW[k], retS[k], GRACE) ->
#else
        :: has(in & retired, k) && passed(retW[k], retS[k], GRACE) && in != one(k) ->
#endif
            in = in & ~one(k); used = used & ~one(k); retired = retired & ~one(k); retW[k] = 0; retS[k] = 0; begin(k)
        :: else
        fi;
        if
        :: has(in & stamped & ~ready, k) && !withdrawn && passed(pubW[k], pubS[k], HOLD) ->
#ifndef DNS_ONLY
            everywhere(k);
#endif
            ready = ready | one(k); pubW[k] = 0; pubS[k] = 0
        :: else
        fi;
    end(k)
}

/* Rule 2: Tpub is when it is really served. */
inline stamp() {
    if :: !withdrawn -> stamped = in :: else fi
}

/* Rule 5: what the ledger has is shown. I2: never empty. I3, I5, I6: what was shown leaves only after its true grace; no word
 * that a key is Ready is taken back while the key is needed. */
inline publish(lost) {
    assert(in || lost || shown == 0);
    each(k, KEYS)
        assert(lost || withdrawn || !has(shown & ~in, k) || unneeded[k] >= PROMISE);
        assert(lost || withdrawn || !has(told & in & ~retired & ~ready, k));
    end(k);
    if
    :: withdrawn -> shown = 0; told = 0
    :: else -> shown = in;
#ifdef RETIRED_SAFE
        told = ready
#else
        told = ready & ~retired
#endif
    fi;
    stamp()
}

/* An operator puts key k on host h. The host loads it later. */
inline install(host, key) {
    if :: file[host] == live[host] || key == live[host] -> since[host] = 0 :: else fi;
    file[host] = key; unneeded[key] = 0;
#ifdef DNS_ONLY
    wish = NOBODY; seen = 0;
#endif
#ifdef WITHDRAWAL
    if :: withdrawn -> look() :: else fi;
#endif
    skip
}

#ifdef ASK_ONE
#define missing(k) false
#else
#define missing(k) (!has(second, k))
#endif

inline tick() {
    each(c, CACHES)
        if :: left[c] > 0 -> left[c]--; if :: left[c] == 0 -> cache[c] = 0 :: else fi :: else fi;
    end(c);
    each(h, HOSTS)
        if :: live[h] != file[h] -> since[h]++ :: else fi;
    end(h);
    each(k, KEYS)
        if :: has((in | shown) & ~inst & ~(staged & in & ~retired), k) -> older(unneeded[k], PROMISE) :: else -> unneeded[k] = 0 fi;
        if :: has(in & stamped & ~ready, k) ->
            older(pubW[k], HOLD);
#ifdef DOWN_COUNTS
            older(pubS[k], HOLD)
#else
            if :: up != DOWN -> older(pubS[k], HOLD) :: else fi
#endif
        :: else fi;
        if :: has(in & retired, k) ->
            older(retW[k], GRACE);
            if :: up != DOWN -> older(retS[k], GRACE) :: else fi
        :: else fi;
    end(k);
    if
    :: up != DOWN && shown != second -> lag++
    :: else
    fi;
#ifdef DNS_ONLY
    lag = 0; looked = false;
    if
    :: wish == NOBODY
    :: wish != NOBODY && (up == SERVING && !has(shown, wish) || missing(wish)) -> wish = NOBODY; seen = 0
    :: else -> older(seen, HOLD)
    fi;
#endif
#ifdef WITHDRAWAL
    if :: withdrawn -> older(noneW, HOLD); if :: up != DOWN -> older(noneS, HOLD) :: else fi :: else fi;
#endif
    skip
}

/* The wall clock is set: back, which clamps all ages to 0, or far forward. */
inline step(hold, grace) {
    each(k, KEYS)
        if :: has(in & stamped & ~ready, k) -> pubW[k] = hold :: else fi;
        if :: has(in & retired, k) -> retW[k] = grace :: else fi;
    end(k);
#ifdef WITHDRAWAL
    if :: withdrawn -> noneW = hold :: else fi;
#endif
    skip
}

/* A crash may lose the last of the time of service. */
inline heartbeat() {
    each(k, KEYS)
        if :: pubS[k] > 0 -> pubS[k]-- :: else fi;
        if :: retS[k] > 0 -> retS[k]-- :: else fi;
    end(k)
}

/* A ledger that is lost whole: only the directories are left. The one exception of I6 is left out: a key that a host still
 * presents and that only the ledger knew. */
inline lose() {
    in = 0; ready = 0; stamped = 0; used = 0; retired = 0; shown = 0; told = 0;
    each(k, KEYS) begin(k); revive(k); end(k)
}

#ifdef COPY
inline copy() {
    copyIn = in; copyReady = ready; copyStamped = stamped; copyActive = used; copyRetired = retired;
    each(k, KEYS) copyPub[k] = pubS[k]; copyRet[k] = retS[k]; end(k)
}

/* A damaged ledger is replaced by its copy: nothing in it is Ready or Retired any more. */
inline restore() {
    lose();
    in = copyIn; used = copyActive;
#ifdef COPY_TRUSTED
    ready = copyReady; stamped = copyStamped; retired = copyRetired;
    each(k, KEYS)
        pubS[k] = copyPub[k]; pubW[k] = (has(in & stamped & ~ready, k) -> HOLD : 0);
        retS[k] = copyRet[k]; retW[k] = (has(retired, k) -> GRACE : 0);
    end(k)
#endif
}
#endif

#define presentedOnDisk(set) (has(set, live[0]) && has(set, live[1]))

#define STAGE(key)   :: d_step { !has(staged, key) -> staged = staged | one(key) }
#define UNSTAGE(key) :: d_step { has(staged, key) && notWished(key) -> staged = staged & ~one(key) }
#define INSTALL(host, key) :: d_step { up == SERVING && file[host] != key && safe(key) -> install(host, key) }
#ifdef DNS_ONLY
#define WISH(key)    :: d_step { wish == NOBODY && has(staged, key) && up == SERVING && has(shown, key) && !missing(key) -> \
                         wish = key; seen = 0 }
#define notWished(k) (wish != k)
#define safe(k)      (wish == k && seen >= HOLD && has(shown, k) && !missing(k))
#else
#define notWished(k) true
#ifdef WITHDRAWAL
#define safe(k)      ((withdrawn && in && passed(noneW, noneS, HOLD)) || (!withdrawn && has(told | used, k)))
#else
#define safe(k)      has(told | used, k)
#endif
#endif
#define LOAD(host)   :: d_step { live[host] != file[host] -> live[host] = file[host]; since[host] = 0; promise() }
#define inTime(host) (live[host] == file[host] || since[host] + 1 < PROMISE)
#define ASK(i) \
    :: d_step { up == SERVING && (shown || withdrawn) -> cache[i] = shown; left[i] = (shown -> TTL : 0); promise() } \
    :: d_step { cache[i] = second; left[i] = (second -> TTL : 0); promise() }

active proctype world() {
    do
    /* The operator stages a key, takes it away, installs it when it is safe. */
    STAGE(0) STAGE(1)
    UNSTAGE(0) UNSTAGE(1)
#if KEYS > 2
    STAGE(2) UNSTAGE(2)
#endif
#ifdef DNS_ONLY
    WISH(0) WISH(1) WISH(2)
#endif
    INSTALL(0, 0) INSTALL(0, 1) INSTALL(1, 0) INSTALL(1, 1)
#if KEYS > 2
    INSTALL(0, 2) INSTALL(1, 2)
#endif
    /* A host loads its key. */
    LOAD(0) LOAD(1)

    /* The server looks, or cannot look; decides, records, and shows, or dies before it has shown. */
    :: atomic { up == SERVING;
        if :: d_step { in || presentedOnDisk(need) -> look() }
#ifndef DNS_ONLY
#ifdef BLIND_RETIRES
           :: d_step { sight = false; look(); sight = true }
#endif
           :: skip
#endif
        fi;
#ifdef SERVE_FIRST
        d_step { shown = shown | in; told = ready };
#endif
        d_step { ripen() };
        if :: d_step { publish(false) } :: up = DOWN fi }
#ifdef SERVE_FIRST
    :: atomic { up == SERVING; d_step { shown = shown | need }; if :: skip :: up = DOWN fi }
#endif
    :: atomic { up != DOWN; up = DOWN; if :: skip :: d_step { heartbeat() } fi }
    :: atomic { up == DOWN; up = STARTING;
        if
        :: skip;
           if :: d_step { in || presentedOnDisk(need) -> look() }
#ifndef DNS_ONLY
              :: skip
#endif
           fi
        :: d_step { presentedOnDisk(need) -> lose() };
           if :: d_step { look() }
#ifdef LOST_READY
                 ready = in;
#endif
#ifndef DNS_ONLY
              :: skip
#endif
           fi
#ifdef COPY
        :: d_step { presentedOnDisk(need | copyIn) -> restore(); look() }
#endif
        fi;
#ifdef EARLY_TPUB
        d_step { stamp() }
#endif
        }
    :: d_step { up == STARTING -> up = SERVING; publish(false) }
#ifdef COPY
    :: d_step { up == SERVING -> copy() }
#endif

    /* The second server transfers the zone. Caches ask any server. */
    :: d_step { up == SERVING && (shown || withdrawn) && second != shown;
        second = shown; lag = 0;
        skip }
    ASK(0)
#if CACHES > 1
    ASK(1)
#endif

    /* Clocks. A host loads within its time, and the second server transfers within its own. */
#ifdef DNS_ONLY
    :: d_step { inTime(0) && inTime(1) && (up != SERVING || looked) -> tick() }
#else
    :: d_step { inTime(0) && inTime(1) && (up == DOWN || lag < PROP || second == shown) -> tick() }
#endif
    :: d_step { step(HOLD, GRACE) }
    :: d_step { step(0, 0) }

#ifdef WITHDRAWAL
    :: atomic { up == SERVING && !withdrawn; d_step { withdrawn = true; noneW = 0; noneS = 0;
        each(k, KEYS) begin(k); end(k); publish(false) } }
    :: atomic { up == SERVING && withdrawn && (in || presentedOnDisk(need)); d_step { look(); withdrawn = false;
        if
#ifndef NONE_AT_ONCE
        :: passed(noneW, noneS, HOLD) ->
#else
        :: true ->
#endif
            ready = in; each(from, KEYS) if :: has(in, from) -> everywhere(from) :: else fi; end(from)
#ifndef NONE_AT_ONCE
        :: else
#endif
        fi;
        noneW = 0; noneS = 0; publish(false) } }
#endif
    od
}
