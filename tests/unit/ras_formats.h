/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format files as kernels write them (mce_record: Debian's 6.1 and 6.12, and a later one with
 * v_data; the others: 6.12).
 */
#ifndef RAS_FORMATS_H
#define RAS_FORMATS_H

#define COMMON                                                                         \
	"format:\n"                                                                    \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"         \
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"         \
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n" \
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
#define F(type, name, offset, size, is_signed) \
	"\tfield:" type " " name ";\toffset:" #offset ";\tsize:" #size ";\tsigned:" #is_signed ";\n"
#define F_U64(name, offset) F("u64", name, offset, 8, 0)
#define F_U32(name, offset) F("u32", name, offset, 4, 0)
#define F_U8(name, offset) F("u8", name, offset, 1, 0)
#define F_TEXT(name, offset) F("__data_loc char[]", name, offset, 4, 1)

#define MCE_BEGIN(id)                                                                      \
	"name: mce_record\nID: " #id "\n" COMMON F_U64("mcgcap", 8) F_U64("mcgstatus", 16) \
		F_U64("status", 24) F_U64("addr", 32) F_U64("misc", 40) F_U64("synd", 48)  \
			F_U64("ipid", 56) F_U64("ip", 64) F_U64("tsc", 72)
#define MCE_PRINT                                                                            \
	"\nprint fmt: \"CPU: %d, MCGc/s: %llx/%llx, MC%d: %016Lx\", REC->cpu, REC->mcgcap, " \
	"REC->mcgstatus, REC->bank, REC->status\n"
static const char mce_6_1[] = MCE_BEGIN(113) F_U64("walltime", 80) F_U32("cpu", 88)
	F_U32("cpuid", 92) F_U32("apicid", 96) F_U32("socketid", 100) F_U8("cs", 104)
		F_U8("bank", 105) F_U8("cpuvendor", 106) MCE_PRINT;
static const char mce_6_12[] =
	MCE_BEGIN(114) F_U64("ppin", 80) F_U64("walltime", 88) F_U32("cpu", 96) F_U32("cpuid", 100)
		F_U32("apicid", 104) F_U32("socketid", 108) F_U8("cs", 112) F_U8("bank", 113)
			F_U8("cpuvendor", 114) F_U32("microcode", 116) MCE_PRINT;
static const char mce_later[] = MCE_BEGIN(115) F_U64("ppin", 80) F_U64("walltime", 88)
	F_U32("cpu", 96) F_U32("cpuid", 100) F_U32("apicid", 104) F_U32("socketid", 108)
		F_U8("cs", 112) F_U8("bank", 113) F_U8("cpuvendor", 114) F_U32("microcode", 116)
			F("__data_loc u8[]", "v_data", 120, 4, 0) MCE_PRINT;

static const char mc_format[] = "name: mc_event\nID: 481\n" COMMON F(
	"unsigned int", "error_type", 8, 4,
	0) F_TEXT("msg", 12) F_TEXT("label", 16) F("u16", "error_count", 20, 2,
						   0) F_U8("mc_index", 22) F("s8", "top_layer", 23,
									     1, 1)
	F("s8", "middle_layer", 24, 1,
	  1) F("s8", "lower_layer", 25, 1,
	       1) F("long", "address", 32, 8,
		    1) F_U8("grain_bits",
			    40) F("long", "syndrome", 48, 8, 1)
		F_TEXT("driver_detail",
		       56) "\nprint fmt: \"%d %s error%s:%s%s on %s (mc:%d)\", REC->error_count, "
			   "mc_event_error_type(REC->error_type), REC->error_count > 1 ? \"s\" : \"\"\n";

#define MF_FIELDS                                                            \
	COMMON F("unsigned long", "pfn", 8, 8, 0) F("int", "type", 16, 4, 1) \
		F("int", "result", 20, 4, 1)
#define MF_RESULTS                                                                                  \
	"__print_symbolic(REC->result, { 0, \"Ignored\" }, { 1, \"Failed\" }, { 2, \"Delayed\" }, " \
	"{ 3, \"Recovered\" })\n"
static const char mf_6_1[] =
	"name: memory_failure_event\nID: 482\n" MF_FIELDS
	"\nprint fmt: \"pfn %#lx: recovery action for %s: %s\", REC->pfn, "
	"__print_symbolic(REC->type, { 0, \"reserved kernel page\" }, "
	"{ 1, \"high-order kernel page\" }, { 2, \"kernel slab page\" }, "
	"{ 3, \"different compound page after locking\" }, { 4, \"huge page\" }, "
	"{ 5, \"free huge page\" }, { 16, \"free buddy page\" }), " MF_RESULTS;
static const char mf_6_12[] =
	"name: memory_failure_event\nID: 482\n" MF_FIELDS
	"\nprint fmt: \"pfn %#lx: recovery action for %s: %s\", REC->pfn, "
	"__print_symbolic(REC->type, { 0, \"reserved kernel page\" }, "
	"{ 1, \"high-order kernel page\" }, { 2, \"huge page\" }, "
	"{ 3, \"free huge page\" }, { 7, \"clean swapcache page\" }, "
	"{ 12, \"dirty LRU page\" }, { 15, \"free buddy page\" }), " MF_RESULTS;

static const char aer_format[] = "name: aer_event\nID: 483\n" COMMON F_TEXT("dev_name", 8) F_U32(
	"status", 12) F_U8("severity", 16) F_U8("tlp_header_valid", 17)
	F("u32", "tlp_header[4]", 20, 16,
	  0) "\nprint fmt: \"%s PCIe Bus Error: severity=%s, %s, TLP Header=%s\n\", __get_str(dev_name), "
	     "REC->severity == 2 ? \"Corrected\" : REC->severity == 1 ? \"Fatal\" : \"Uncorrected, "
	     "non-fatal\", __print_flags(REC->status, \"|\", {0x00000001, \"Receiver Error\"})\n";

static const char extlog_format[] = "name: extlog_mem_event\nID: 484\n" COMMON F_U32(
	"err_seq",
	8) F_U8("etype", 12) F_U8("sev", 13) F_U64("pa", 16) F_U8("pa_mask_lsb",
								  24) F("guid_t", "fru_id", 25, 16,
									0) F_TEXT("fru_text", 44)
	F("struct cper_mem_err_compact", "data", 48, 55,
	  0) "\nprint fmt: \"{%d} %s error: %s\", REC->err_seq, cper_severity_str(REC->sev)\n";

static const char firmware_format[] = "name: non_standard_event\nID: 485\n" COMMON F(
	"char", "sec_type[16]", 8, 16, 1) F("char", "fru_id[16]", 24, 16, 1) F_TEXT("fru_text", 40)
	F_U8("sev", 44) F_U32("len", 48)
		F("__data_loc u8[]", "buf", 52, 4,
		  0) "\nprint fmt: \"severity: %d; sec type:%pU\", REC->sev, REC->sec_type\n";

static const char page_head[] = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
				"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
				"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
				"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n";

#endif
