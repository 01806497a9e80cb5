/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A firmware of 64 KiB that writes one word into each of 64 pages over and over, and a dot on the serial port
 * after each round: the smallest guest that shows that KVM really runs one. */
.code16
start:
	xor %ax, %ax
	mov %ax, %ss
	mov $0x7000, %sp
1:	mov $0x1000, %bx
	mov $64, %cx
2:	mov %bx, %ds
	incw 0
	add $0x100, %bx
	loop 2b
	mov $3000, %cx
3:	loop 3b
	mov $'.', %al
	mov $0x3f8, %dx
	out %al, %dx
	jmp 1b
.org 0xfff0
	.byte 0xea
	.word 0
	.word 0xf000
.org 0xffff
	.byte 0
