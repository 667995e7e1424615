/* lora.c - adapters. */
#include "model/ckpt_priv.h"

int mm_lora_read(
	struct mm_ckpt *ck, const char *dir, const char *search_dir, struct mm_ckpt_why *why, struct mm_err *err)
{
	(void)ck;
	(void)search_dir;
	mm_ckpt_blame(why, "unsupported", "adapter_config.json", 0, false);
	return mm_fail(err, MM_EUNSUPPORTED, "%s: adapters are not supported yet", dir);
}

void mm_lora_apply(const void *overlay, const struct mm_tensor *t, uint64_t first, size_t n, float *dst)
{
	(void)overlay, (void)t, (void)first, (void)n, (void)dst;
}

void mm_lora_free(struct mm_lora *l)
{
	(void)l;
}
