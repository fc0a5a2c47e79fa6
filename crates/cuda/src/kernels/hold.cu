// Keeps a stream busy, so that launches can gather behind it.

KERNEL hold(const u64 nanoseconds) {
  overlap();
  u64 begin, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
}
