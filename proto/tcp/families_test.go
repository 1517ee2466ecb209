package tcp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// ipv6Prefix begins the names of the scripts that are played over IPv6: see newScript.
const ipv6Prefix = "TestScriptsOverIPv6/"

// TestScriptsOverIPv6 plays each script once more, over IPv6.
func TestScriptsOverIPv6(t *testing.T) {
	for _, s := range scripts {
		t.Run(s.name, s.test)
	}
}

// scripts are the tests that play a peer.
var scripts = []struct {
	name string
	test func(*testing.T)
}{
	// again_test.go
	{"TestDuplicatesOfARepairAreNoLoss", TestDuplicatesOfARepairAreNoLoss},
	{"TestLossInARecoveryIsTheNextOnes", TestLossInARecoveryIsTheNextOnes},
	{"TestLostRepairAfterATimeout", TestLostRepairAfterATimeout},
	{"TestSmallerPiecesAreNoCongestion", TestSmallerPiecesAreNoCongestion},
	// bugs_test.go
	{"TestBugEstablishedForEverAtWindowZero", TestBugEstablishedForEverAtWindowZero},
	{"TestBugHandshakeACKWithoutTimestamps", TestBugHandshakeACKWithoutTimestamps},
	{"TestBugRACKOnACoarseClock", TestBugRACKOnACoarseClock},
	{"TestBugSYNWithECNBitsIsReset", TestBugSYNWithECNBitsIsReset},
	{"TestBugSynReceivedZombies", TestBugSynReceivedZombies},
	{"TestBugWindowMovesBack", TestBugWindowMovesBack},
	{"TestBugWriteToAClosedConnection", TestBugWriteToAClosedConnection},
	// close_test.go
	{"TestAbort", TestAbort},
	{"TestAbortInSynSent", TestAbortInSynSent},
	{"TestRFC9293_3_10_5_AbortAfterTheFINs", TestRFC9293_3_10_5_AbortAfterTheFINs},
	{"TestFinWait2IsNotWaitedIn", TestFinWait2IsNotWaitedIn},
	{"TestActiveClose", TestActiveClose},
	{"TestCloseSendsWhatWasWritten", TestCloseSendsWhatWasWritten},
	{"TestCloseWithUnreadData", TestCloseWithUnreadData},
	{"TestConnectFromTimeWait", TestConnectFromTimeWait},
	{"TestDataAfterClose", TestDataAfterClose},
	{"TestFINACKsOurFIN", TestFINACKsOurFIN},
	{"TestFINBehindZeroWindow", TestFINBehindZeroWindow},
	{"TestFINIsSentAgain", TestFINIsSentAgain},
	{"TestFinWait2IsCounted", TestFinWait2IsCounted},
	{"TestFinWait2Lasts", TestFinWait2Lasts},
	{"TestFinWait2Timeout", TestFinWait2Timeout},
	{"TestFinWait2WithProgram", TestFinWait2WithProgram},
	{"TestOrphanLimit", TestOrphanLimit},
	{"TestPassiveClose", TestPassiveClose},
	{"TestResetWhileClosing", TestResetWhileClosing},
	{"TestShutdownDuringWrite", TestShutdownDuringWrite},
	{"TestShutdownRead", TestShutdownRead},
	{"TestSimultaneousClose", TestSimultaneousClose},
	{"TestTimeWait", TestTimeWait},
	{"TestTimeWaitLimit", TestTimeWaitLimit},
	{"TestTimeWaitReuse", TestTimeWaitReuse},
	{"TestTimeWaitReuseByTimestamp", TestTimeWaitReuseByTimestamp},
	{"TestConnectFromFinWait2", TestConnectFromFinWait2},
	// register_test.go
	{"TestRegister", TestRegister},
	{"TestRegisterUser", TestRegisterUser},
	// cookie_test.go
	{"TestSYNCookie", TestSYNCookie},
	{"TestSYNCookieForged", TestSYNCookieForged},
	{"TestSYNCookieMSS", TestSYNCookieMSS},
	{"TestSYNCookieWithoutTimestamps", TestSYNCookieWithoutTimestamps},
	// core_test.go
	{"TestMalformed", TestMalformed},
	{"TestParkAndFail", TestParkAndFail},
	{"TestReplyQueueLimit", TestReplyQueueLimit},
	{"TestSeveralCores", TestSeveralCores},
	// ecn_test.go
	{"TestRFC3168_6_1_1_1_Fallback", TestRFC3168_6_1_1_1_Fallback},
	{"TestRFC3168_6_1_1_ActiveOpen", TestRFC3168_6_1_1_ActiveOpen},
	{"TestRFC3168_6_1_1_PassiveOpen", TestRFC3168_6_1_1_PassiveOpen},
	{"TestRFC3168_6_1_2_EchoWithData", TestRFC3168_6_1_2_EchoWithData},
	{"TestRFC3168_6_1_2_Sender", TestRFC3168_6_1_2_Sender},
	{"TestRFC3168_6_1_2_TimeoutTellsCWR", TestRFC3168_6_1_2_TimeoutTellsCWR},
	{"TestRFC3168_6_1_3_Receiver", TestRFC3168_6_1_3_Receiver},
	{"TestRFC3168_NotAgreedOn", TestRFC3168_NotAgreedOn},
	{"TestRFC3168_SimultaneousOpen", TestRFC3168_SimultaneousOpen},
	{"TestSYNCookieKeepsECN", TestSYNCookieKeepsECN},
	// fastopen_pause_test.go
	{"TestFastOpenFailureIsTold", TestFastOpenFailureIsTold},
	{"TestFastOpenPausesAtABlackHole", TestFastOpenPausesAtABlackHole},
	{"TestFastOpenPausesAtALoneFIN", TestFastOpenPausesAtALoneFIN},
	// fastopen_test.go
	{"TestFastOpenTakenIsAsGoodAsOpen", TestFastOpenTakenIsAsGoodAsOpen},
	{"TestFastOpenClientSwitches", TestFastOpenClientSwitches},
	{"TestFastOpenSimultaneousOpen", TestFastOpenSimultaneousOpen},
	{"TestFastOpenConnectLater", TestFastOpenConnectLater},
	{"TestFastOpenKeys", TestFastOpenKeys},
	{"TestFastOpenServerWithoutCookies", TestFastOpenServerWithoutCookies},
	{"TestRFC7413_4_1_3_LostSYN", TestRFC7413_4_1_3_LostSYN},
	{"TestRFC7413_4_2_1_Client", TestRFC7413_4_2_1_Client},
	{"TestRFC7413_4_2_Server", TestRFC7413_4_2_Server},
	{"TestRFC7413_4_2_ServerRefuses", TestRFC7413_4_2_ServerRefuses},
	{"TestRFC7413_5_1_PendingLimit", TestRFC7413_5_1_PendingLimit},
	{"TestRFC7413_ServerSendsAgain", TestRFC7413_ServerSendsAgain},
	// guard_test.go
	{"TestMinTTL", TestMinTTL},
	{"TestMinTTLIsOfOneFamily", TestMinTTLIsOfOneFamily},
	// info_test.go
	{"TestDeliveredCE", TestDeliveredCE},
	{"TestInfoOfAnEndedConnection", TestInfoOfAnEndedConnection},
	{"TestKeepIdleCountsTheSilence", TestKeepIdleCountsTheSilence},
	{"TestKeepaliveUserTimeout", TestKeepaliveUserTimeout},
	// minrtt_test.go
	{"TestMinRTTForgets", TestMinRTTForgets},
	// open_test.go
	{"TestActiveOpen", TestActiveOpen},
	{"TestBacklog", TestBacklog},
	{"TestBadACKInSynReceived", TestBadACKInSynReceived},
	{"TestBadACKInSynSent", TestBadACKInSynSent},
	{"TestConnectErrors", TestConnectErrors},
	{"TestDeferAccept", TestDeferAccept},
	{"TestHandshakeACKWithoutTimestamps", TestHandshakeACKWithoutTimestamps},
	{"TestInitialSequenceNumbers", TestInitialSequenceNumbers},
	{"TestListenerClosesWithHalfOpenAndWaiting", TestListenerClosesWithHalfOpenAndWaiting},
	{"TestNoConnection", TestNoConnection},
	{"TestPassiveOpenWithAllOptions", TestPassiveOpenWithAllOptions},
	{"TestPassiveOpenWithoutOptions", TestPassiveOpenWithoutOptions},
	{"TestResetInSynReceived", TestResetInSynReceived},
	{"TestSYNACKIsSentAgainAndThenForgotten", TestSYNACKIsSentAgainAndThenForgotten},
	{"TestSYNAgain", TestSYNAgain},
	{"TestSYNCNTLimitsTheTime", TestSYNCNTLimitsTheTime},
	{"TestSYNIsSentAgainAndThenTimesOut", TestSYNIsSentAgainAndThenTimesOut},
	{"TestSYNQueueLimit", TestSYNQueueLimit},
	{"TestSimultaneousOpen", TestSimultaneousOpen},
	{"TestUserTimeoutOfAConnect", TestUserTimeoutOfAConnect},
	// pace_test.go
	{"TestPacingBurst", TestPacingBurst},
	// receive_test.go
	{"TestACKRange", TestACKRange},
	{"TestACKRidesOnData", TestACKRidesOnData},
	{"TestQuickACKRidesOnData", TestQuickACKRidesOnData},
	{"TestFINIsNoAnswer", TestFINIsNoAnswer},
	{"TestACKOfAFINThatMayWait", TestACKOfAFINThatMayWait},
	{"TestChallengeLimit", TestChallengeLimit},
	{"TestEmptyFINOutOfOrder", TestEmptyFINOutOfOrder},
	{"TestFINOutOfOrder", TestFINOutOfOrder},
	{"TestHolesLimit", TestHolesLimit},
	{"TestIdleHoldsNothing", TestIdleHoldsNothing},
	{"TestNoACKFlag", TestNoACKFlag},
	{"TestNoMemory", TestNoMemory},
	{"TestOutOfOrderDataAndSACK", TestOutOfOrderDataAndSACK},
	{"TestOutOfOrderDataLeavesMemoryForWhatIsInOrder", TestOutOfOrderDataLeavesMemoryForWhatIsInOrder},
	{"TestPAWS", TestPAWS},
	{"TestPAWSAllowsATick", TestPAWSAllowsATick},
	{"TestQuickThenDelayedACK", TestQuickThenDelayedACK},
	{"TestQuickACKsAfterADuplicate", TestQuickACKsAfterADuplicate},
	{"TestQuickACKsAfterASilence", TestQuickACKsAfterASilence},
	{"TestDelayedACKFollowsTheSegmentSize", TestDelayedACKFollowsTheSegmentSize},
	{"TestReceiveWindow", TestReceiveWindow},
	{"TestReset", TestReset},
	{"TestSACKBlocksBesideTimestamps", TestSACKBlocksBesideTimestamps},
	{"TestSYNOnEstablished", TestSYNOnEstablished},
	{"TestSegmentLargerThanMSS", TestSegmentLargerThanMSS},
	{"TestSequenceCheck", TestSequenceCheck},
	{"TestTextBeyondTheWindow", TestTextBeyondTheWindow},
	{"TestTimestampToEcho", TestTimestampToEcho},
	// recovery_test.go
	{"TestDSACKNotAgreedOn", TestDSACKNotAgreedOn},
	{"TestDSACKSent", TestDSACKSent},
	{"TestFRTOReal", TestFRTOReal},
	{"TestFRTOSpurious", TestFRTOSpurious},
	{"TestFRTOWithoutNewData", TestFRTOWithoutNewData},
	{"TestLimitedTransmit", TestLimitedTransmit},
	{"TestNoUndoOfARealLoss", TestNoUndoOfARealLoss},
	{"TestPRR", TestPRR},
	{"TestRACKCoarseClock", TestRACKCoarseClock},
	{"TestRACKLostRetransmission", TestRACKLostRetransmission},
	{"TestRACKReorderingTimer", TestRACKReorderingTimer},
	{"TestRACKWaitsForTheReordered", TestRACKWaitsForTheReordered},
	{"TestRACKWindowAdapts", TestRACKWindowAdapts},
	{"TestRFC5681_3_1_SackedBeforeATimeout", TestRFC5681_3_1_SackedBeforeATimeout},
	{"TestRFC5682_3_1_DuplicateBeforeTheAnswer", TestRFC5682_3_1_DuplicateBeforeTheAnswer},
	{"TestRFC8985_7_4_2_OneReduction", TestRFC8985_7_4_2_OneReduction},
	{"TestRFC9937_6_2_TimerDeliversNothing", TestRFC9937_6_2_TimerDeliversNothing},
	{"TestTLPAllowsForDelayedACK", TestTLPAllowsForDelayedACK},
	{"TestTLPLossDetection", TestTLPLossDetection},
	{"TestTLPSendsNewData", TestTLPSendsNewData},
	{"TestTLPSendsTheTail", TestTLPSendsTheTail},
	{"TestUndoByDSACK", TestUndoByDSACK},
	{"TestUndoByTimestamps", TestUndoByTimestamps},
	// rfc9293_test.go
	{"TestRFC9293_3_10_7_1_Closed", TestRFC9293_3_10_7_1_Closed},
	{"TestRFC9293_3_10_7_2_Listen", TestRFC9293_3_10_7_2_Listen},
	{"TestRFC9293_3_10_7_3_SynSent", TestRFC9293_3_10_7_3_SynSent},
	{"TestRFC9293_3_10_7_4_Eighth_FIN", TestRFC9293_3_10_7_4_Eighth_FIN},
	{"TestRFC9293_3_10_7_4_Fifth_Duplicate", TestRFC9293_3_10_7_4_Fifth_Duplicate},
	{"TestRFC9293_3_10_7_4_Fifth_NoACK", TestRFC9293_3_10_7_4_Fifth_NoACK},
	{"TestRFC9293_3_10_7_4_Fifth_OurFIN", TestRFC9293_3_10_7_4_Fifth_OurFIN},
	{"TestRFC9293_3_10_7_4_Fifth_UnsentAndTooOld", TestRFC9293_3_10_7_4_Fifth_UnsentAndTooOld},
	{"TestRFC9293_3_10_7_4_First_Unacceptable", TestRFC9293_3_10_7_4_First_Unacceptable},
	{"TestRFC9293_3_10_7_4_First_UnacceptableReset", TestRFC9293_3_10_7_4_First_UnacceptableReset},
	{"TestRFC9293_3_10_7_4_Fourth_SYN", TestRFC9293_3_10_7_4_Fourth_SYN},
	{"TestRFC9293_3_10_7_4_Second_Reset", TestRFC9293_3_10_7_4_Second_Reset},
	{"TestRFC9293_3_10_7_4_Second_ResetInWindow", TestRFC9293_3_10_7_4_Second_ResetInWindow},
	{"TestRFC9293_3_10_7_4_Seventh_Text", TestRFC9293_3_10_7_4_Seventh_Text},
	{"TestRFC9293_3_10_7_4_TimeWait", TestRFC9293_3_10_7_4_TimeWait},
	// send_test.go
	{"TestBackoffHasALimit", TestBackoffHasALimit},
	{"TestCork", TestCork},
	{"TestFastRetransmitWithSACK", TestFastRetransmitWithSACK},
	{"TestICMP", TestICMP},
	{"TestICMPWanted", TestICMPWanted},
	{"TestInitialWindow", TestInitialWindow},
	{"TestKeepalive", TestKeepalive},
	{"TestMaxSeg", TestMaxSeg},
	{"TestNagle", TestNagle},
	{"TestNewRenoPartialACK", TestNewRenoPartialACK},
	{"TestNoRestartAfterIdle", TestNoRestartAfterIdle},
	{"TestNotDuplicates", TestNotDuplicates},
	{"TestNumbersWrap", TestNumbersWrap},
	{"TestPathMTU", TestPathMTU},
	{"TestReneging", TestReneging},
	{"TestRFC6298_5_7_SYNSentTwice", TestRFC6298_5_7_SYNSentTwice},
	{"TestRFC9293_3_8_6_ShrunkToNothing", TestRFC9293_3_8_6_ShrunkToNothing},
	{"TestRestartAfterIdle", TestRestartAfterIdle},
	{"TestRetransmissionGivesUp", TestRetransmissionGivesUp},
	{"TestRetransmissionTimeout", TestRetransmissionTimeout},
	{"TestSegmentSizeWithTimestamps", TestSegmentSizeWithTimestamps},
	{"TestSendBufferFills", TestSendBufferFills},
	{"TestSenderSWS", TestSenderSWS},
	{"TestShrunkWindow", TestShrunkWindow},
	{"TestTelling", TestTelling},
	{"TestUserTimeout", TestUserTimeout},
	{"TestWindowGrowsOnlyWhenUsed", TestWindowGrowsOnlyWhenUsed},
	{"TestWriteWithoutMemory", TestWriteWithoutMemory},
	{"TestZeroWindowForEver", TestZeroWindowForEver},
	{"TestZeroWindowOrphan", TestZeroWindowOrphan},
	{"TestZeroWindowUnanswered", TestZeroWindowUnanswered},
	// train_test.go
	{"TestTrainOfOneHeader", TestTrainOfOneHeader},
	{"TestTrainEndsWithAWholeSegment", TestTrainEndsWithAWholeSegment},
	// urgent_test.go
	{"TestRFC6093_MarksInARow", TestRFC6093_MarksInARow},
	{"TestRFC6093_OldMarkIsBehindTheProgram", TestRFC6093_OldMarkIsBehindTheProgram},
	{"TestRFC6093_UrgentAgain", TestRFC6093_UrgentAgain},
	{"TestRFC6093_UrgentAnnounced", TestRFC6093_UrgentAnnounced},
	{"TestRFC6093_UrgentInline", TestRFC6093_UrgentInline},
	{"TestRFC6093_UrgentNotRead", TestRFC6093_UrgentNotRead},
	{"TestRFC6093_UrgentReceived", TestRFC6093_UrgentReceived},
	{"TestRFC9293_3_8_5_UrgentFarAway", TestRFC9293_3_8_5_UrgentFarAway},
	{"TestRFC9293_3_8_5_UrgentProbe", TestRFC9293_3_8_5_UrgentProbe},
	{"TestRFC9293_3_8_5_UrgentSent", TestRFC9293_3_8_5_UrgentSent},
	{"TestRFC9293_3_8_5_UrgentSentAgain", TestRFC9293_3_8_5_UrgentSentAgain},
	{"TestStdUrg", TestStdUrg},
	{"TestUrgentAtTheEnd", TestUrgentAtTheEnd},
}

// Every test of this package that plays a script is among them.
func TestEveryScriptIsPlayedOverIPv6(t *testing.T) {
	listed := map[string]bool{}
	for _, s := range scripts {
		listed[s.name] = true
	}
	for name := range callers(t, "newScript") {
		if strings.HasPrefix(name, "Test") && !listed[name] {
			t.Errorf("%s plays a script and is not played over IPv6", name)
		}
	}
}

// callers are the functions of this package's tests that call one, or another that does.
func callers(t *testing.T, callee string) map[string]bool {
	calls := map[string][]string{} // callee to callers
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if to, ok := call.Fun.(*ast.Ident); ok {
						calls[to.Name] = append(calls[to.Name], f.Name.Name)
					}
				}
				return true
			})
		}
	}
	found := map[string]bool{}
	for next := []string{callee}; len(next) > 0; next = next[1:] {
		for _, from := range calls[next[0]] {
			if !found[from] {
				found[from] = true
				next = append(next, from)
			}
		}
	}
	return found
}
