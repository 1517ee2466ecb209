package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openTrains makes the device take trains, if the kernel has packet sockets.
func (d *AFXDP) openTrains(index int) (err error) {
	d.trains, err = openTrains(index)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil
	case err != nil:
		return fmt.Errorf("trains of segments on %s: %w", d.info.Name, err)
	}
	d.info.TrainMax = trainMax
	return nil
}

// sendTrain sends the train of a frame, or keeps a copy of it until there is room.
func (d *AFXDP) sendTrain(f *Frame) {
	if d.trains == nil || d.trains.waits() { // more than Reserve has shown room for
		d.count.txInvalid.Add(1)
		return
	}
	n := f.Train.segments()
	d.count.txPackets.Add(uint64(n))
	d.count.txBytes.Add(uint64(n*len(f.Data) + f.Train.Len))
	d.trainSent(d.trains.send(f.Data, f.Train), n)
}

// sendTrainAgain sends the train that waits.
func (d *AFXDP) sendTrainAgain() { d.trainSent(d.trains.again(), 1) }

// trainSent counts what the kernel has said to a train of n segments.
func (d *AFXDP) trainSent(errno unix.Errno, n int) {
	d.count.kicks.Add(1)
	switch errno {
	case 0, unix.EAGAIN:
	case unix.ENOBUFS: // the queueing discipline has dropped it
		d.count.txBusy.Add(uint64(n))
	case unix.ENETDOWN, unix.ENXIO:
		d.count.txBusy.Add(uint64(n))
		d.Probe()
	default:
		d.count.txInvalid.Add(uint64(n))
	}
}
