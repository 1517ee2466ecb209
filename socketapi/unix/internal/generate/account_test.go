package generate

// namesake is a function of package socketapi that is another one there.
const namesake = "Open"

// What becomes of each function of golang.org/x/sys/unix. Those that package socketapi has, with the same signature, are taken from
// there and are not listed; of every other one a line below says it. A function that nothing is said of fails the test.

// plain are the functions that have nothing to do with descriptors.
const plain = `
Access Acct AddKey Adjtimex Alarm Auxv BytePtrFromString BytePtrToString ByteSliceFromString ByteSliceToString Capget Capset Chdir Chmod
Chown Chroot Clearenv ClockAdjtime ClockGetres ClockGettime ClockNanosleep ClockSettime CmsgLen CmsgSpace DeleteModule Environ ErrnoName
Getcwd Getegid Getenv Geteuid Getgid Getgroups Getitimer Getpagesize Getpgid Getpgrp Getpid Getppid Getpriority Getrandom Getresgid
Getresuid Getrlimit Getrusage Getsid Gettid Gettimeofday Getuid Getwd Getxattr InitModule Ioperm Iopl KeyctlBuffer KeyctlDHCompute
KeyctlGetKeyringID KeyctlInstantiateIOV KeyctlInt KeyctlJoinSessionKeyring KeyctlRestrictKeyring KeyctlSearch KeyctlSetperm KeyctlString
Kill Klogctl Klogset Lchown Lgetxattr Link Listns Listxattr Llistxattr Lremovexattr Lsetxattr Lstat Lutimes Madvise Major MakeItimerval
Minor Mkdev Mkdir Mkfifo Mknod Mlock Mlockall Mount Mprotect Mremap MremapPtr Mseal Msync Munlock Munlockall Munmap MunmapPtr Nanosleep
NewCPUSet NewFileHandle NewIfreq NsecToTimespec NsecToTimeval ParseDirent ParseOneSocketControlMessage ParseOrigDstAddr
ParseSocketControlMessage ParseUnixCredentials ParseUnixRights Pause PivotRoot PktInfo4 PktInfo6 Prctl PrctlArg5Ptr PrctlRetInt Prlimit
ProcessVMReadv ProcessVMWritev PthreadSigmask PtraceAttach PtraceCont PtraceDetach PtraceGetEventMsg PtraceGetRegs PtraceGetRegs386
PtraceGetRegsAmd64 PtraceGetRegsArm PtraceGetRegsArm64 PtraceGetRegSetArm64 PtraceInterrupt PtracePeekData PtracePeekText PtracePeekUser
PtracePokeData PtracePokeText PtracePokeUser PtraceSeize PtraceSetOptions PtraceSetRegs PtraceSetRegs386 PtraceSetRegsAmd64
PtraceSetRegsArm PtraceSetRegsArm64 PtraceSetRegSetArm64 PtraceSingleStep PtraceSyscall RISCVHWProbe Readlink Reboot Removexattr Rename
RequestKey Rmdir SchedGetAttr SchedGetaffinity SchedGetaffinityDynamic SchedSetAttr SchedSetaffinity SchedSetaffinityDynamic
SetMemPolicy SetMemPolicyDynamic Setdomainname Setenv Setfsgid SetfsgidRetGid Setfsuid SetfsuidRetUid Setgid Setgroups Sethostname
Setitimer Setpgid Setpriority Setregid Setresgid Setresuid Setreuid Setrlimit Setsid Settimeofday Setuid Setxattr SignalName SignalNum
Stat Statfs Symlink Sync Sysinfo SysvShmAttach SysvShmCtl SysvShmDetach SysvShmGet Tgkill Time TimeToTimespec Times TimespecToNsec
TimevalToNsec Truncate Umask Uname UnixCredentials UnixRights Unlink Unmount Unsetenv Unshare Ustat Utime Utimes UtimesNano Wait4
`

// lent are the functions for descriptors of the kernel's, which they are given by the kernel's numbers: the name, the errno of a socket of
// the engine's, and which parameters are descriptors, a|b where machines differ. Negative numbers (none, AT_FDCWD) stay what they are.
const lent = `
Cachestat EOPNOTSUPP fd
CopyFileRange EINVAL rfd wfd
Faccessat ENOTDIR dirfd
Faccessat2 ENOTDIR dirfd
Fadvise EOPNOTSUPP fd
Fallocate ENODEV fd
Fchdir ENOTDIR fd
Fchmod EOPNOTSUPP fd
Fchmodat ENOTDIR dirfd
Fchown EOPNOTSUPP fd
Fchownat ENOTDIR dirfd
FcntlFlock EOPNOTSUPP fd
Fdatasync EINVAL fd
Fgetxattr EOPNOTSUPP fd
FinitModule EOPNOTSUPP fd
Flistxattr EOPNOTSUPP fd
Flock EOPNOTSUPP fd
Fremovexattr EOPNOTSUPP fd
FsconfigCreate EINVAL fd
FsconfigReconfigure EINVAL fd
FsconfigSetBinary EINVAL fd
FsconfigSetFd EINVAL fd value
FsconfigSetFlag EINVAL fd
FsconfigSetPath EINVAL fd atfd
FsconfigSetPathEmpty EINVAL fd atfd
FsconfigSetString EINVAL fd
Fsetxattr EOPNOTSUPP fd
Fstatat ENOTDIR dirfd|fd
Fstatfs EOPNOTSUPP fd
Fsync EINVAL fd
Ftruncate EINVAL fd
Futimes EOPNOTSUPP fd
Futimesat ENOTDIR dirfd
Getdents ENOTDIR fd
InotifyAddWatch EINVAL fd
InotifyRmWatch EINVAL fd
IoctlFileClone EINVAL destFd srcFd
IoctlGetEthtoolDrvinfo EOPNOTSUPP fd
IoctlGetEthtoolTsInfo EOPNOTSUPP fd
IoctlGetHwTstamp EOPNOTSUPP fd
IoctlGetRTCTime ENOTTY fd
IoctlGetRTCWkAlrm ENOTTY fd
IoctlGetTermios ENOTTY fd
IoctlGetWatchdogInfo ENOTTY fd
IoctlGetWinsize ENOTTY fd
IoctlHIDGetDesc ENOTTY fd
IoctlHIDGetRawInfo ENOTTY fd
IoctlHIDGetRawName ENOTTY fd
IoctlHIDGetRawPhys ENOTTY fd
IoctlHIDGetRawUniq ENOTTY fd
IoctlLoopGetStatus64 ENOTTY fd
IoctlLoopSetStatus64 ENOTTY fd
IoctlPidfdInfo ENOTTY fd
IoctlPtpClockGetcaps ENOTTY fd
IoctlPtpExttsRequest ENOTTY fd
IoctlPtpPeroutRequest ENOTTY fd
IoctlPtpPinGetfunc ENOTTY fd
IoctlPtpPinSetfunc ENOTTY fd
IoctlPtpSysOffsetExtended ENOTTY fd
IoctlPtpSysOffsetPrecise ENOTTY fd
IoctlRetInt ENOTTY fd
IoctlSetHwTstamp EOPNOTSUPP fd
IoctlSetRTCTime ENOTTY fd
IoctlSetRTCWkAlrm ENOTTY fd
IoctlSetString ENOTTY fd
IoctlSetTermios ENOTTY fd
IoctlSetWinsize ENOTTY fd
IoctlWatchdogKeepalive ENOTTY fd
KexecFileLoad EBADF kernelFd initrdFd
Linkat ENOTDIR olddirfd newdirfd
Mkdirat ENOTDIR dirfd
Mkfifoat ENOTDIR dirfd
Mknodat ENOTDIR dirfd
Mmap ENODEV fd
MmapPtr ENODEV fd
MoveMount ENOTDIR fromDirfd toDirfd
NameToHandleAt ENOTDIR dirfd
PidfdSendSignal EBADF pidfd
Pread ESPIPE fd
Preadv ESPIPE fd
Preadv2 ESPIPE fd
Pwrite ESPIPE fd
Pwritev ESPIPE fd
Pwritev2 ESPIPE fd
ReadDirent ENOTDIR fd
Readlinkat ENOTDIR dirfd
Renameat ENOTDIR olddirfd newdirfd
Renameat2 ENOTDIR olddirfd newdirfd
Seek ESPIPE fd
Setns EINVAL fd
Statx ENOTDIR dirfd
Symlinkat ENOTDIR newdirfd
SyncFileRange ESPIPE fd
Syncfs EOPNOTSUPP fd
Tee EINVAL rfd wfd
TimerfdGettime EINVAL fd
TimerfdSettime EINVAL fd
Unlinkat ENOTDIR dirfd
UtimesNanoAt ENOTDIR dirfd
Vmsplice EBADF fd
`

// made are the functions that make a descriptor, which the table then has: the name; the parameter of flags and its flag for close-on-exec,
// or - where there is none, and yes or no for what it is; and, as above, the errno and descriptors.
const made = `
Eventfd flags EFD_CLOEXEC
Fsmount flags FSMOUNT_CLOEXEC EINVAL fd
Fsopen flags FSOPEN_CLOEXEC
Fspick flags FSPICK_CLOEXEC ENOTDIR dirfd
InotifyInit1 flags IN_CLOEXEC
MemfdCreate flags MFD_CLOEXEC
MemfdSecret flags O_CLOEXEC
Open mode O_CLOEXEC
OpenByHandleAt flags O_CLOEXEC ENOTDIR mountFD
OpenTree flags OPEN_TREE_CLOEXEC ENOTDIR dfd
Openat flags O_CLOEXEC ENOTDIR dirfd
PidfdGetfd - yes EBADF pidfd
PidfdOpen - yes
TimerfdCreate flags TFD_CLOEXEC
`

// written are the functions that stand in this package's own files.
const written = `CloseOnExec Creat Exit InotifyInit Openat2 Pipe Pipe2 Signalfd Socket Waitid`

// absent are the functions that are left out, and why.
var absent = []struct{ names, why string }{
	{"Syscall Syscall6 SyscallNoError RawSyscall RawSyscall6 RawSyscallNoError", "a descriptor among the arguments would be taken for one of the kernel's; package syscall has them"},
	{"Exec", "the sockets end with the program, and no descriptor of the table is inherited; package syscall has it"},
	{"CloseRange", "it would close the kernel's numbers, not the table's"},
	{"FanotifyInit FanotifyMark", "events hold descriptors of the kernel's"},
	{"PerfEventOpen", "a process may be named by a descriptor, which only a flag tells"},
	{"FdToClockID", "a clock's number is made of the kernel's descriptor, and outlives it"},
	{"IoctlFileCloneRange IoctlFileDedupeRange IoctlKCMAttach IoctlKCMUnattach IoctlKCMClone IoctlLoopConfigure MountSetattr", "the structure holds descriptors of the kernel's"},
}
